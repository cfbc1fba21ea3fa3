"""Pictures side by side, with labels. The font is Pillow's own, so that every machine draws the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

# A panel of a film is at least so high, and a larger picture is made smaller; in pixels.
PANEL_HEIGHT = 256
GAP = 2  # pixels between two frames of a row, before the enlargement
_FILM_GAP, _FILM_FONT = 8, 18
_INK, _PAPER = (34, 34, 34), (255, 255, 255)
_LINE_HEIGHT = 1.5  # of the font's size
_FILLED = 0.96  # of a panel's width, by the longest label

Picture = npt.NDArray[np.uint8]


def film_picture(panels: Mapping[str, Picture], caption: str, height: int = PANEL_HEIGHT) -> Picture:
    """Panels side by side, each below its label, and a caption below them all: uint8 (H, W, 3) with even sides.

    Args:
        panels: pictures of any size by their labels, uint8 (H, W, 3); each is `fitted` to the height.
        caption: a short line, such as the step and the return.
        height: of the panels, in pixels.
    """
    pictures = [fitted(picture, height) for picture in panels.values()]
    row = np.concatenate([part for picture in pictures for part in (picture, _gap(height))][:-1], axis=1)
    strip = label_strip(tuple(panels), tuple(picture.shape[1] for picture in pictures), _FILM_GAP, _FILM_FONT)
    below = label_strip((caption,), (row.shape[1],), 0, _FILM_FONT)
    whole = np.concatenate([strip, row, below])
    return whole[: len(whole) // 2 * 2, : whole.shape[1] // 2 * 2]


def fitted(picture: Picture, height: int) -> Picture:
    """A picture at this height, uint8 (height, W, 3).

    A smaller one is enlarged by a whole number, so that its pixels stay squares of one size, and gets a margin; a
    larger one is averaged.
    """
    own_height, own_width, _ = picture.shape
    if own_height > height:
        width = round(own_width * height / own_height)
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
    times = height // own_height
    enlarged = picture.repeat(times, axis=0).repeat(times, axis=1)
    above, rest = divmod(height - len(enlarged), 2)
    return np.pad(enlarged, ((above, above + rest), (0, 0), (0, 0)), constant_values=255)


def side_by_side(frames: Picture, scale: int) -> Picture:
    """uint8 (N, H, W, 3) to one picture with white gaps, enlarged `scale` times."""
    padded = np.pad(frames, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    row: Picture = np.concatenate(list(padded), axis=1)[:, :-GAP]
    return row.repeat(scale, axis=0).repeat(scale, axis=1)


@lru_cache(maxsize=16)
def label_strip(labels: Sequence[str], widths: Sequence[int], gap: int, font_size: int) -> Picture:
    """A white strip with a label above each panel, uint8 (H, W, 3); H is even.

    Args:
        labels: a tuple.
        widths: of the panels below, in pixels; a tuple.
        gap: between two panels, in pixels.
        font_size: in pixels; smaller where the longest label would not fit.
    """
    height = 2 * round(_LINE_HEIGHT * font_size / 2)
    strip = Image.new("RGB", (sum(widths) + gap * (len(widths) - 1), height), _PAPER)
    draw = ImageDraw.Draw(strip)
    face = font(_fitting(labels, widths, font_size))
    lefts = accumulate(widths, lambda left, width: left + width + gap, initial=0)
    for label, width, left in zip(labels, widths, lefts, strict=False):
        draw.text((left + width / 2, height / 2), label, fill=_INK, font=face, anchor="mm")
    return np.asarray(strip)


def _gap(height: int) -> Picture:
    return np.full((height, _FILM_GAP, 3), 255, np.uint8)


def _fitting(labels: Sequence[str], widths: Sequence[int], font_size: int) -> float:
    """The font's size at which every label fits above its panel."""
    face = font(font_size)
    shares = (face.getlength(label) / width for label, width in zip(labels, widths, strict=True))
    return font_size / max(1.0, *(share / _FILLED for share in shares))


@lru_cache(maxsize=16)
def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font at this size, in pixels."""
    return ImageFont.load_default(size)
