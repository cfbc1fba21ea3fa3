"""Grids of frames as a PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vmc.report.panels import label_strip, side_by_side
from vmc.storage.files import replacing

_FONT_SIZE = 12  # before the enlargement: larger than a film's, as the grid is wider


def save_grid(path: Path, rows: Mapping[str, npt.NDArray[np.uint8]], scale: int = 2) -> None:
    """Writes rows of frames as one picture, each row below its label.

    Args:
        rows: frames by the row's label, uint8 (N, H, W, 3), as many in each row.
        scale: frames are enlarged so many times.
    """
    parts: list[npt.NDArray[np.uint8]] = []
    for label, frames in rows.items():
        row = side_by_side(frames, scale)
        parts += [label_strip((label,), (row.shape[1],), 0, scale * _FONT_SIZE), row]
    with replacing(path) as partial:
        Image.fromarray(np.concatenate(parts)).save(partial, format="PNG")
