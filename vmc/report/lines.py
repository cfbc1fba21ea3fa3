"""Vectors over time as a picture: what stands in place of a frame where an environment shows vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from vmc.report.panels import PANEL_HEIGHT, Picture, font

# Steps that are shown; a longer history scrolls.
STEPS = 100
_WIDTH = 320
_FONT, _BARS = 11, 64
_RANGE = 3.0  # units of the spread from the middle of a lane to its edge
_FINER = 2  # drawn so many times as large, then averaged: Pillow's lines are not smooth
_PAPER, _LANE, _REFERENCE, _LINE = (255, 255, 255), (232, 232, 232), (170, 170, 170), (0, 114, 178)

Vectors = npt.NDArray[np.floating]


def draw_lines(vectors: Vectors, reference: Vectors | None = None) -> Picture:
    """The last `STEPS` vectors, one lane for each dimension, uint8 (`PANEL_HEIGHT`, 320, 3).

    Args:
        vectors: (T, D), in units of each dimension's spread around its centre; T is at least 1.
        reference: (T, D), drawn below them in grey.
    """
    height, width = _FINER * PANEL_HEIGHT, _FINER * _WIDTH
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    lanes = vectors.shape[1]
    face = font(_FINER * min(_FONT, PANEL_HEIGHT / lanes / 2))
    for lane in range(lanes):
        middle = (lane + 0.5) * height / lanes
        draw.line([(0, middle), (width, middle)], _LANE, _FINER)
        draw.text((width - _FINER, middle), f"{lane}", _REFERENCE, face, anchor="rs")
        for values, colour in ((reference, _REFERENCE), (vectors, _LINE)):
            if values is not None:
                draw.line(_points(values[-STEPS:, lane], middle, height / lanes / 2, width), colour, 2 * _FINER)
    return np.asarray(image.reduce(_FINER))


def draw_bars(vector: Vectors) -> Picture:
    """One vector as bars to the left and right, one for each dimension, uint8 (64, 64, 3).

    Args:
        vector: (D,), in units of each dimension's spread around its centre.
    """
    image = Image.new("RGB", (_BARS, _BARS), _PAPER)
    draw = ImageDraw.Draw(image)
    middle, step = _BARS / 2, _BARS / len(vector)
    for lane, value in enumerate((np.clip(vector / _RANGE, -1, 1) * middle).tolist()):
        left, right = sorted((middle, middle + value))
        draw.rectangle([left, (lane + 0.15) * step, right + 1, (lane + 0.85) * step], _LINE)
    return np.asarray(image)


def _points(values: Vectors, middle: float, reach: float, width: int) -> list[tuple[float, float]]:
    """A lane's line from the left; a single value is a line across the lane."""
    if len(values) == 1:
        values = values.repeat(STEPS + 1)
    x = np.arange(len(values)) * width / STEPS
    y = middle - reach * np.clip(values / _RANGE, -1, 1)
    return list(zip(x.tolist(), y.tolist(), strict=True))
