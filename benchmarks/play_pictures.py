"""Draws `docs/images/play.png` and `play.gif`: the page of `vmc play`, used as a person uses it.

python benchmarks/play_pictures.py

It needs Playwright and Chromium.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from play_browser import ROOT, played, wait_for

from vmc.report.video import write_video

IMAGES = ROOT / "docs" / "images"
RUN = "results/carracing"
SIZE = {"width": 1280, "height": 760}
SHOWN = (800, 475)
RATE = 8


def main() -> None:
    """Uses the page for a quarter of a minute."""
    with played(RUN) as (address, browser):
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{address}/?run={RUN}&seed=2")
        wait_for(page, "vmc.view && vmc.view.step > 140 && document.querySelector('#starts button')")
        page.screenshot(path=IMAGES / "play.png", full_page=True)
        pictures = list(_used(page))
    write_video(IMAGES / "play.gif", pictures, RATE)


def _used(page: Any) -> list[Any]:
    pictures: list[Any] = []

    def shoot(times: int) -> None:
        for _ in range(times):
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            pictures.append(np.asarray(picture.resize(SHOWN, Image.Resampling.LANCZOS))[: SHOWN[1] // 2 * 2])
            page.wait_for_timeout(20)

    shoot(14)
    page.keyboard.press("z")  # falls asleep
    shoot(22)
    for temperature in (1.4, 1.8):
        page.evaluate(f"document.getElementById('temperature').value = {temperature}")
        page.evaluate("document.getElementById('temperature').dispatchEvent(new Event('input'))")
        shoot(5)
    page.keyboard.press(" ")
    box = page.locator("#latents").bounding_box()
    used = page.evaluate("vmc.run.latent_mask").index(True)
    size = page.evaluate("vmc.run.latent_mask.length")
    x = box["x"] + box["width"] * (used + 0.5) / size
    page.mouse.move(x, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in (0.3, 0.15, 0.05, 0.3, 0.6, 0.8, 0.95, 0.7, 0.5):
        page.mouse.move(x, box["y"] + box["height"] * share)
        shoot(2)
    page.mouse.up()
    page.keyboard.press(" ")
    page.keyboard.press("z")  # wakes up
    shoot(14)
    return pictures


if __name__ == "__main__":
    main()
