"""The server in a process of its own: many pages, bad messages, foreign pages."""

from __future__ import annotations

import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from conftest import TOY, ToyRun
from page_client import opened, past, served
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from vmc.cli import main
from vmc.storage.rollouts import RolloutDataset
from vmc.viewer.server import MAX_PAGES


@pytest.fixture(scope="module")
def address(toy_session: ToyRun) -> Iterator[str]:
    with served("play", str(toy_session.run)) as (address, _):
        yield address


def _get(url: str, **headers: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_bad_message_is_answered_and_the_page_goes_on(address: str, toy_session: ToyRun) -> None:
    with opened(address) as page:
        for text in ("", "{", '{"type": "fly"}', '{"type": "begin"}', "[" * 10_000):
            page.send_text(text)
            assert page.event("error")["message"]
        page.send("begin", run=str(toy_session.run))
        page.until(past(3))


def test_more_pages_than_fit_are_refused_and_a_closed_one_makes_room(address: str, toy_session: ToyRun) -> None:
    with ExitStack() as stack:
        pages = [stack.enter_context(opened(address)) for _ in range(MAX_PAGES)]
        for page in pages:
            page.send("begin", run=str(toy_session.run))
        for page in pages:
            page.until(past(2))
        with connect(address.replace("http", "ws") + "/play") as refused:
            assert "pages are open" in str(refused.recv())
            with pytest.raises(ConnectionClosed):
                refused.recv(timeout=10)
    with opened(address) as page:
        page.send("begin", run=str(toy_session.run))
        page.until(past(1))


def test_a_closed_page_ends_its_thread(toy_session: ToyRun) -> None:
    with served("play", str(toy_session.run)) as (address, process):
        with opened(address) as page:
            page.send("begin", run=str(toy_session.run))
            page.until(past(1))
        before, pages = psutil.Process(process.pid).num_threads(), 6
        with ExitStack() as stack:
            for _ in range(pages):
                page = stack.enter_context(opened(address))
                page.send("begin", run=str(toy_session.run))
                page.until(past(1))
        for _ in range(100):
            # asyncio keeps one for each page that was closed at the same time, but for the first.
            if psutil.Process(process.pid).num_threads() < before + pages:
                break
            time.sleep(0.1)
        assert psutil.Process(process.pid).num_threads() < before + pages


def test_the_server_ends_cleanly_while_pages_play(toy_session: ToyRun, capfd: pytest.CaptureFixture[str]) -> None:
    with served("play", str(toy_session.run)) as (address, process), ExitStack() as stack:
        for _ in range(MAX_PAGES):
            page = stack.enter_context(opened(address))
            page.send("begin", run=str(toy_session.run))
            page.until(past(1))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not capfd.readouterr().err


def test_foreign_pages_and_names_are_refused(address: str) -> None:
    with pytest.raises(InvalidStatus):
        connect(address.replace("http", "ws") + "/play", origin="http://elsewhere.example")  # type: ignore[arg-type]
    assert _get(address, Host="elsewhere.example")[0] == 400


def test_the_page_and_its_pictures_are_served_and_nothing_else(address: str, toy_session: ToyRun) -> None:
    status, page = _get(address)
    assert status == 200
    assert b"<title>vmc play" in page
    status, picture = _get(f"{address}/starts.png?run={toy_session.run}")
    assert status == 200
    assert picture.startswith(b"\x89PNG")
    for path in ("starts.png?run=/etc", "videos/../../etc/passwd", "../cli.py", "videos/"):
        assert _get(f"{address}/{path}")[0] == 404


def test_a_run_without_v_and_m_is_refused_with_the_way_out(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["play", str(tmp_path), "--no-browser"])
    assert result.exit_code == 1
    assert "has no V" in result.output
    assert "vmc list" in result.output


def test_a_port_in_use_is_told(address: str, toy_session: ToyRun) -> None:
    port = address.rsplit(":", maxsplit=1)[-1]
    result = CliRunner().invoke(main, ["play", str(toy_session.run), "--no-browser", "--port", port])
    assert result.exit_code == 1
    assert f"127.0.0.1:{port} cannot be used" in result.output


def test_a_person_collects_rollouts_until_none_is_missing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    arguments = ["rollouts", "--env", TOY, "--policy", "human", "--episodes", "2", "--data", str(data)]
    with served(*arguments) as (address, process):
        with opened(address) as page:
            page.send("begin", run=TOY)
            page.event("collecting")
            page.send("speed", steps=1000)
            page.send("press", key="ArrowRight")
            page.send("pause", paused=False)
            page.event("saved")
            page.send("again")  # drops what was saved
            page.view(step=0, paused=True)
            page.send("pause", paused=False)
            page.send("next")
            assert "has not ended" in page.event("error")["message"]
            page.event("saved")
            with opened(address) as second:
                second.send("begin", run=TOY)
                assert "is writing to" in second.event("error")["message"]
            page.send("next")
            assert page.event("collects") == {"type": "collects", "number": 2, "episodes": 2}
            page.view(step=0, paused=True)
            page.send("pause", paused=False)
            page.event("saved")
            page.send("next")
            page.event("finished")
        assert process.wait(30) == 0
    dataset = RolloutDataset(data)
    assert [episode.index for episode in dataset.episodes] == [0, 1]
    assert {source.policy["name"] for source in dataset.sources.values()} == {"human"}
    assert (dataset.read(dataset.episodes[0]).actions[1:] == 1).all()


def test_a_folder_of_another_environment_is_refused_before_anyone_drives(toy_session: ToyRun) -> None:
    arguments = ["rollouts", "--env", "CartPole-v1", "--policy", "human", "--data", str(toy_session.data)]
    result = CliRunner().invoke(main, [*arguments, "--no-browser"])
    assert result.exit_code == 1
    assert "holds episodes of" in result.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_recordings_are_removed_when_the_server_ends(
    number: signal.Signals, toy_session: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with served("play", str(toy_session.run), ends=None) as (address, process), opened(address) as page:
        page.send("begin", run=str(toy_session.run))
        page.send("record", format="mp4")
        page.until(past(1))
        page.send("record")
        page.event("recorded")
        assert list(tmp_path.glob("vmc-play-*/*.mp4"))
        process.send_signal(number)
        assert process.wait(30) == (143 if number == signal.SIGTERM else 0)
    assert not list(tmp_path.glob("vmc-play-*"))


def test_rollouts_by_a_person_in_a_recipe_are_refused(tmp_path: Path) -> None:
    override = ["--set", "rollouts.policy=human", "--data", str(tmp_path / "d"), "--run", str(tmp_path / "r")]
    result = CliRunner().invoke(main, ["run", "--env", TOY, "--preset", "smoke", *override])
    assert result.exit_code == 1
    assert "vmc rollouts --policy human" in result.output
