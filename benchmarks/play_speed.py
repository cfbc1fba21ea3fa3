"""Measures `vmc play` in a browser: steps and drawn frames a second, and the time from a key to the frame that shows it.

python benchmarks/play_speed.py

It writes `results/play.json`. It needs Playwright and Chromium; the server, the browser and the measurement share the
machine's cores.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from vmc.executors import available_cores
from vmc.storage.files import write_json

ROOT = Path(__file__).parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
# A run, a key that moves, the speed at which keys are timed, and where.
PLACES = (
    ("results/carracing", "ArrowLeft", "reality"),
    ("results/carracing", "ArrowLeft", "dream"),
    ("results/take-cover", "ArrowLeft", "reality"),
    ("results/take-cover", "ArrowLeft", "dream"),
)
SECONDS = 8
KEYS = 40


def main() -> None:
    """Measures all places, one after another."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    command = [sys.executable, "-m", "vmc", "play", "--no-browser"]
    environment = os.environ | {"SDL_VIDEODRIVER": "dummy"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert server.stdout is not None
    address = server.stdout.readline().split()[0]
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            rows = [_measure(browser.new_page(), address, *place) for place in PLACES]
            version = browser.version
            browser.close()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
    machine = {"cores": available_cores(), "processor": platform.processor() or platform.machine()}
    content = {"command": "python benchmarks/play_speed.py", "chromium": version, "machine": machine, "rows": rows}
    write_json(ROOT / "results" / "play.json", content)
    print(json.dumps(rows, indent=1))


def _measure(page: Page, address: str, run: str, key: str, world: str) -> dict[str, Any]:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{address}/?run={run}&world={world}&start=0&seed=1")
    while not page.evaluate("Boolean(vmc.view && vmc.view.step > 20)"):
        page.wait_for_timeout(100)
    own = page.evaluate("vmc.run.steps_per_second")
    latencies = _key_to_frame(page, key)
    page.evaluate("document.getElementById('speed').value = 120")
    page.evaluate("document.getElementById('speed').dispatchEvent(new Event('input'))")
    page.wait_for_timeout(1500)
    rates, before = [], page.evaluate("vmc.drawn")
    for _ in range(SECONDS * 4):
        page.wait_for_timeout(250)
        page.evaluate("vmc.view.ended && document.getElementById('again').click()")
        rates.append(page.evaluate("vmc.view.rate"))
    drawn = page.evaluate("vmc.drawn") - before
    page.close()
    return {
        "run": run,
        "world": world,
        "own_steps_per_second": own,
        "key_to_frame_ms": round(statistics.median(latencies), 1),
        "key_to_frame_ms_90": round(statistics.quantiles(latencies, n=10)[-1], 1),
        "keys": len(latencies),
        "steps_per_second": round(statistics.median(rates), 1),
        "frames_per_second": round(drawn / SECONDS, 1),
    }


def _key_to_frame(page: Page, key: str) -> list[float]:
    """Presses and releases a key at odd moments, at the environment's own speed."""
    for number in range(KEYS):
        if page.evaluate("Boolean(vmc.view.ended)"):
            page.evaluate("document.getElementById('again').click()")
            page.wait_for_timeout(300)
        page.keyboard.down(key)
        page.wait_for_timeout(61 + 7 * (number % 5))
        page.keyboard.up(key)
        page.wait_for_timeout(53 + 5 * (number % 7))
    return list(page.evaluate("vmc.latencies"))


if __name__ == "__main__":
    main()
