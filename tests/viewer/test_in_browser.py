"""The page in a real browser, on a published agent, as a person uses it."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_client import served

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, e.g. `apt-get install chromium`"),
    pytest.mark.timeout(300),
]
AGENT = "results/carracing"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
# Kept for a person to look at.
SCREENSHOTS = Path(os.environ.get("VMC_SCREENSHOTS", "screenshots"))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served("play", AGENT) as (address, _):
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A tab, what it logged, and where it sent requests to."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        options = {"viewport": {"width": 1280, "height": 800}} | options
        self.context = browser.new_context(**options)
        self.tab = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.tab.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.goto(address)

    def wait(self, condition: str) -> None:
        """Until that holds of `vmc`, the page's state."""
        # Not `wait_for_function`, which the page's security policy forbids.
        for _ in range(600):
            if self.tab.evaluate(f"Boolean({condition})"):
                return
            self.tab.wait_for_timeout(100)
        raise AssertionError(f"{condition} did not come true; the page complains: {self.complaints}")

    def view(self, name: str) -> Any:
        return self.tab.evaluate(f"vmc.view[{name!r}]")

    def picture(self, panel: str) -> str:
        """The pixels of a panel."""
        return str(self.tab.evaluate(f"document.querySelector('#panel-{panel} canvas').toDataURL()"))

    def shoot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.tab.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Watched]:
    watched = Watched(browser, address)
    watched.wait("vmc.view && vmc.view.step > 5")
    yield watched
    watched.context.close()
    assert watched.complaints == []
    assert {url.split("/")[2] for url in watched.requests if not url.startswith("blob:")} == {address.split("/")[2]}


def test_keys_drive_and_the_controller_takes_over_again(page: Watched, record_property: Any) -> None:
    for _ in range(12):
        page.tab.keyboard.down("ArrowLeft")
        page.tab.wait_for_timeout(60)
        page.tab.keyboard.up("ArrowLeft")
        page.tab.wait_for_timeout(40)
    page.tab.keyboard.down("ArrowLeft")
    page.wait("vmc.view.driver === 'person' && vmc.view.action[0] === -1")
    page.tab.keyboard.up("ArrowLeft")
    page.wait("vmc.view.driver === 'controller'")
    latencies = page.tab.evaluate("vmc.latencies")
    assert len(latencies) > 10
    median = statistics.median(latencies)
    record_property("key to frame, median ms", median)
    print(f"key to frame: median {median:.0f} ms of {len(latencies)}; {page.view('rate'):.0f} steps/s")


def test_fall_asleep_and_wake_up(page: Watched) -> None:
    page.wait("document.querySelector('#starts button') && vmc.view.step > 60")
    page.shoot("reality")
    real = page.picture("environment")
    page.tab.keyboard.press("z")
    page.wait("vmc.view.world === 'dream' && vmc.view.step > 10")
    frozen, dreamed = page.picture("environment"), page.picture("dream")
    page.wait("vmc.view.step > 60")
    assert page.picture("environment") == frozen
    assert page.picture("dream") != dreamed
    page.shoot("dream")
    page.tab.click("#sleep")
    page.wait("vmc.view.world === 'reality'")
    assert real.startswith("data:image/png")


def test_a_dragged_latent_changes_vs_picture_while_paused(page: Watched) -> None:
    page.tab.keyboard.press(" ")
    page.wait("vmc.view.paused")
    before, drawn = page.picture("reconstruction"), page.tab.evaluate("vmc.drawn")
    latents = page.tab.locator("#latents")
    box = latents.bounding_box()
    mask = page.tab.evaluate("vmc.run.latent_mask")
    x = box["x"] + box["width"] * (mask.index(True) + 0.5) / len(mask)
    page.tab.mouse.move(x, box["y"] + box["height"] * 0.5)
    page.tab.mouse.down()
    page.tab.mouse.move(x, box["y"] + box["height"] * 0.05, steps=4)
    page.tab.mouse.up()
    page.wait(f"vmc.drawn > {drawn + 3}")
    assert page.view("paused")
    assert page.picture("reconstruction") != before


def test_latents_can_be_changed_by_keyboard_alone(page: Watched) -> None:
    page.tab.keyboard.press(" ")
    page.wait("vmc.view.paused")
    page.tab.focus("#latents")
    before, value = page.picture("reconstruction"), float(page.tab.get_attribute("#latents", "aria-valuenow"))
    for _ in range(8):
        page.tab.keyboard.press("ArrowUp")
        page.tab.wait_for_timeout(50)
    page.wait(f"Number(document.getElementById('latents').ariaValueNow) > {value + 1}")
    assert page.picture("reconstruction") != before
    assert page.view("driver") == "controller"


def test_the_temperature_changes_while_the_dream_runs_and_is_in_the_link(page: Watched) -> None:
    page.tab.keyboard.press("z")
    page.wait("vmc.view.world === 'dream'")
    page.tab.evaluate(
        "() => { const slider = document.getElementById('temperature'); slider.value = 2.5;"
        " slider.dispatchEvent(new Event('input')); }"
    )
    page.wait("vmc.view.step > 5")
    assert page.tab.inner_text("#temperature-value") == "2.50"
    assert "temperature=2.5" in page.tab.url


def test_a_link_begins_the_same_dream(browser: Any, address: str) -> None:
    link = f"{address}/?run={AGENT}&world=dream&seed=3&start=40&temperature=0.5&sampled=1"
    pictures = []
    for _ in range(2):
        watched = Watched(browser, link)
        watched.wait("vmc.view")
        watched.tab.keyboard.press(" ")
        watched.wait("vmc.view.paused")
        watched.tab.keyboard.press("r")
        watched.wait("vmc.view.step === 0")
        pictures.append(watched.picture("dream"))
        assert watched.tab.input_value("#temperature") == "0.5"
        assert watched.tab.is_checked("#sampled")
        watched.context.close()
    assert pictures[0] == pictures[1]


def test_a_recording_can_be_downloaded_and_plays(page: Watched, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    page.tab.keyboard.press("v")
    page.wait("vmc.view.recording")
    page.tab.wait_for_timeout(800)
    page.tab.keyboard.press("v")
    link = page.tab.wait_for_selector("#notes a")
    with page.tab.expect_download() as download:
        link.click()
    path = tmp_path / "drive.mp4"
    download.value.save_as(path)
    with av.open(str(path)) as film:
        frames = list(film.decode(video=0))
    assert len(frames) > 5
    assert frames[0].width > 2 * 256


def test_a_link_that_cannot_be_followed_is_told_and_a_run_can_be_chosen(browser: Any, address: str) -> None:
    for query, told in (
        ("?run=nope", "no run 'nope'"),
        (f"?run={AGENT}&world=dream&start=99999", "no recorded moment 99999"),
        (f"?run={AGENT}&temperature=-1", "temperature is -1"),
    ):
        watched = Watched(browser, address + query)
        assert told in watched.tab.wait_for_selector("#notes .error").inner_text()
        if "temperature" not in query:
            watched.tab.click("#runs button >> nth=0")
        watched.wait("vmc.view && vmc.view.step > 2")
        assert watched.tab.input_value("#temperature") == "1"
        assert not watched.tab.is_visible("#chooser")
        watched.context.close()


def test_the_end_of_a_dream_and_the_end_of_the_server_are_told(browser: Any) -> None:
    with served("play", AGENT, ends=None) as (address, process):
        watched = Watched(browser, f"{address}/?run={AGENT}&world=dream&start=40")
        watched.wait("vmc.view && vmc.view.step > 2")
        watched.tab.evaluate("document.getElementById('speed').value = 120")
        watched.tab.evaluate("document.getElementById('speed').dispatchEvent(new Event('input'))")
        watched.wait("vmc.view.ended")
        assert watched.tab.is_visible("#panel-dream #ended")
        watched.tab.click("#ended-wake")
        watched.wait("vmc.view.world === 'reality' && !vmc.view.ended")
        assert not watched.tab.is_visible("#ended")
        process.send_signal(signal.SIGINT)
        watched.wait("vmc.closed")
        watched.tab.wait_for_timeout(200)
        assert watched.tab.inner_text("#where") == "Disconnected"
        assert watched.tab.is_disabled("#sleep")
        watched.context.close()
        assert process.wait(30) == 0


def test_a_moment_can_be_chosen_by_its_picture(page: Watched) -> None:
    page.tab.click("#starts button >> nth=5")
    page.wait("vmc.view.world === 'dream' && vmc.begun.start > 0")
    assert f"start={page.tab.evaluate('vmc.begun.start')}" in page.tab.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_touch_drives(scheme: str, browser: Any, address: str) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": scheme}
    watched = Watched(browser, address, **phone)
    watched.wait("vmc.view && vmc.view.step > 5")
    assert watched.tab.evaluate("document.documentElement.scrollWidth") <= 390
    button = watched.tab.locator("#keys button").first
    button.dispatch_event("pointerdown", {"pointerId": 1})
    watched.wait("vmc.view.driver === 'person'")
    watched.shoot(f"phone-{scheme}")
    assert watched.complaints == []
    watched.context.close()


def test_dark(browser: Any, address: str) -> None:
    watched = Watched(browser, address, color_scheme="dark")
    watched.wait("vmc.view && vmc.view.step > 60")
    watched.shoot("dark")
    background = watched.tab.evaluate("getComputedStyle(document.body).backgroundColor")
    watched.context.close()
    assert background == "rgb(18, 23, 29)"


def test_everything_has_a_name_and_can_be_reached_by_keyboard(page: Watched) -> None:
    nameless = page.tab.evaluate(
        "() => [...document.querySelectorAll('button, input, select, canvas, img')].filter((element) =>"
        " !(element.ariaLabel || element.textContent.trim() || element.labels?.length || element.alt !== undefined))"
        ".map((element) => element.outerHTML)"
    )
    assert nameless == []
    reached = set()
    for _ in range(60):
        page.tab.keyboard.press("Tab")
        reached.add(page.tab.evaluate("document.activeElement.id || document.activeElement.textContent"))
    expected = {"sleep", "align", "pause", "once", "again", "new", "driver", "speed", "temperature", "sampled", "seed"}
    assert expected | {"record", "format", "save", "share", "latents"} <= reached


def test_runs_are_offered_and_one_is_chosen(browser: Any) -> None:
    with served("play") as (address, _):
        watched = Watched(browser, address)
        watched.tab.wait_for_selector("#runs button")
        watched.tab.wait_for_timeout(1500)
        watched.shoot("chooser")
        names = watched.tab.locator("#runs strong").all_inner_texts()
        assert {AGENT, "results/dream"} <= set(names)
        watched.tab.click(f"#runs button:has-text('{AGENT}') >> nth=0")
        watched.wait("vmc.view && vmc.view.step > 2")
        assert watched.complaints == []
        watched.context.close()
