"""Measures `vmc play` in a browser: steps and frames a second, and the time from a key to the frame that shows it.

python benchmarks/play_speed.py

It writes `results/play.json`. It needs Playwright and Chromium; the server, the browser and the measurement share the
machine's cores.
"""

from __future__ import annotations

import json
import statistics
from typing import Any

from play_browser import ROOT, played, wait_for

from vmc.executors import available_cores, processor
from vmc.storage.files import write_json

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
    with played() as (address, browser):
        rows = [_measure(browser.new_page(), address, *place) for place in PLACES]
        version = browser.version
    content = {
        "command": "python benchmarks/play_speed.py",
        "chromium": version,
        "machine": {"processor": processor(), "cores": available_cores()},
        "rows": rows,
    }
    write_json(ROOT / "results" / "play.json", content)
    print(json.dumps(rows, indent=1))


def _measure(page: Any, address: str, run: str, key: str, world: str) -> dict[str, Any]:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{address}/?run={run}&world={world}&start=0&seed=1")
    wait_for(page, "vmc.view && vmc.view.step > 20")
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


def _key_to_frame(page: Any, key: str) -> list[float]:
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
