"""Grids of frames as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vmc.storage.files import replacing

_GAP = 2


def save_grid(path: Path, rows: Sequence[npt.NDArray[np.uint8]], scale: int = 2) -> None:
    """Writes rows of frames, each uint8 (N, H, W, 3), as one picture with white gaps, enlarged `scale` times."""
    height, width = rows[0].shape[1:3]
    columns = max(len(row) for row in rows)
    canvas = np.full((len(rows) * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for y, row in enumerate(rows):
        for x, frame in enumerate(row):
            top, left = y * (height + _GAP), x * (width + _GAP)
            canvas[top : top + height, left : left + width] = frame
    image = Image.fromarray(canvas)
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    with replacing(path) as partial:
        image.save(partial, format="PNG")
