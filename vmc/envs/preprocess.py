"""From an environment's picture to the 64x64x3 frame that V sees, defined once and exactly.

Crop, then area-average resize (every output pixel is the mean of the source area that it covers, so it is
antialiased), in integer arithmetic and rounded half up: the same bits on every machine.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import Any

import gymnasium as gym
import numba
import numpy as np
import numpy.typing as npt

FRAME_SIZE = 64
FRAME_SHAPE = (FRAME_SIZE, FRAME_SIZE, 3)
# Named in every data set; change it whenever a frame could change.
PREPROCESSING = "area-64-v1"

Ints = npt.NDArray[np.int32]


@cache
def _spans(source: int) -> tuple[Ints, Ints, int]:
    """The source cells that each of the 64 target cells covers.

    Both axes are measured in units of 1 / lcm: a source cell is `64 / g` units wide, a target cell `source / g`.

    Returns:
        Cells and their overlaps, each (64, longest span), with overlaps of 0 where a span is shorter; and the sum of
        a span's overlaps.
    """
    divisor = gcd(source, FRAME_SIZE)
    source_width, target_width = FRAME_SIZE // divisor, source // divisor
    starts = np.arange(FRAME_SIZE, dtype=np.int32) * np.int32(target_width)
    first = starts // source_width
    longest = int((-(-(starts + target_width) // source_width) - first).max())
    cells = first[:, None] + np.arange(longest, dtype=np.int32)
    overlaps = np.minimum((cells + 1) * source_width, starts[:, None] + target_width)
    overlaps -= np.maximum(cells * source_width, starts[:, None])
    return np.minimum(cells, source - 1), np.clip(overlaps, 0, None), target_width


@numba.njit(cache=True)
def _average(
    image: Any, frame: Any, line: Any, rows: Any, row_overlaps: Any, columns: Any, overlaps: Any, divisor: int
) -> None:
    """Sums down the columns into `line` (W * 3,), where values lie side by side, then along it.

    (total + 1/2) / divisor is never nearer to an integer than 1 / (2 divisor), so the product with the rounded
    reciprocal has the exact quotient's integer part.
    """
    reciprocal = 1.0 / divisor
    half = divisor // 2 + 0.5
    for y in range(FRAME_SIZE):
        line[:] = 0
        for k in range(rows.shape[1]):
            weight = row_overlaps[y, k]
            row = image[rows[y, k]]
            for i in range(len(line)):
                line[i] += weight * row[i]
        for x in range(FRAME_SIZE):
            for c in range(3):
                total = np.int64(0)
                for k in range(columns.shape[1]):
                    total += overlaps[x, k] * line[3 * columns[x, k] + c]
                frame[y, x, c] = np.uint8((total + half) * reciprocal)


def resize(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Area-averages uint8 (H, W, 3) to uint8 (64, 64, 3), rounding half up."""
    height, width, _ = image.shape
    rows, row_overlaps, row_sum = _spans(height)
    columns, overlaps, column_sum = _spans(width)
    frame = np.empty(FRAME_SHAPE, np.uint8)
    line = np.empty(width * 3, np.int32)
    flat = image.reshape(height, width * 3)
    _average(flat, frame, line, rows, row_overlaps, columns, overlaps, row_sum * column_sum)
    return frame


class PreprocessedFrames(gym.ObservationWrapper[Any, Any, Any]):
    """Crops rows `[0, crop_rows)` of each picture (None: all of it) and resizes it to uint8 (64, 64, 3)."""

    def __init__(self, env: gym.Env[Any, Any], crop_rows: int | None = None) -> None:
        super().__init__(env)
        self._crop_rows = crop_rows
        self.observation_space = gym.spaces.Box(0, 255, FRAME_SHAPE, np.uint8)

    def observation(self, observation: Any) -> npt.NDArray[np.uint8]:
        return resize(np.ascontiguousarray(observation[: self._crop_rows]))
