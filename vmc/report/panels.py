"""Frames side by side, and labels above them. The font is Pillow's own, so that every machine draws the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

GAP = 2  # pixels between two frames, before the enlargement
FONT_SIZE = 7  # pixels, before the enlargement
_INK, _PAPER = (34, 34, 34), (255, 255, 255)
_LINE_HEIGHT = 1.5  # of the font's size
_FILLED = 0.96  # of a panel's width, by the longest label


def side_by_side(frames: npt.NDArray[np.uint8], scale: int) -> npt.NDArray[np.uint8]:
    """uint8 (N, H, W, 3) to one picture with white gaps, enlarged `scale` times."""
    padded = np.pad(frames, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    row: npt.NDArray[np.uint8] = np.concatenate(list(padded), axis=1)[:, :-GAP]
    return row.repeat(scale, axis=0).repeat(scale, axis=1)


def label_strip(labels: Sequence[str], widths: Sequence[int], gap: int, font_size: int) -> npt.NDArray[np.uint8]:
    """A white strip with a label above each panel, uint8 (H, W, 3); H is even.

    Args:
        widths: of the panels below, in pixels.
        gap: between two panels, in pixels.
        font_size: in pixels; smaller where the longest label would not fit.
    """
    height = 2 * round(_LINE_HEIGHT * font_size / 2)
    strip = Image.new("RGB", (sum(widths) + gap * (len(widths) - 1), height), _PAPER)
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(_fitting(labels, widths, font_size))
    lefts = accumulate(widths, lambda left, width: left + width + gap, initial=0)
    for label, width, left in zip(labels, widths, lefts, strict=False):
        draw.text((left + width / 2, height / 2), label, fill=_INK, font=font, anchor="mm")
    return np.asarray(strip)


def _fitting(labels: Sequence[str], widths: Sequence[int], font_size: int) -> float:
    """The font's size at which every label fits above its panel."""
    font = ImageFont.load_default(font_size)
    shares = (font.getlength(label) / width for label, width in zip(labels, widths, strict=True))
    return font_size / max(1.0, *(share / _FILLED for share in shares))
