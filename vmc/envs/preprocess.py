"""From an environment's picture to the 64x64x3 frame that V sees, defined once and exactly.

Crop, then area-average resize (every output pixel is the mean of the source area that it covers, so it is
antialiased), in integer arithmetic and rounded half up: the same bits on every machine.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

FRAME_SIZE = 64
FRAME_SHAPE = (FRAME_SIZE, FRAME_SIZE, 3)
# Named in every data set; change it whenever a frame could change.
PREPROCESSING = "area-64-v1"


@cache
def _area_weights(source: int, target: int) -> tuple[npt.NDArray[np.float64], int]:
    """Integer overlaps (target, source) of target cells with source cells, and the sum of each row.

    Both axes are measured in units of 1 / lcm: a source cell is target/g units wide, a target cell source/g.
    """
    divisor = gcd(source, target)
    source_width, target_width = target // divisor, source // divisor
    source_start = np.arange(source) * source_width
    target_start = np.arange(target)[:, None] * target_width
    overlap = np.minimum(source_start + source_width, target_start + target_width)
    overlap = overlap - np.maximum(source_start, target_start)
    return np.clip(overlap, 0, None).astype(np.float64), target_width


@cache
def _resize_matrices(height: int, width: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
    """(64, height) row weights, (width*3, 64*3) column weights, and the divisor that makes their product a mean.

    Sums of integers stay exact in float32 up to 2^24, in float64 up to 2^53, in whatever order BLAS adds them.
    """
    rows, row_sum = _area_weights(height, FRAME_SIZE)
    columns, column_sum = _area_weights(width, FRAME_SIZE)
    divisor = row_sum * column_sum
    dtype = np.float32 if 255 * divisor < 2**24 else np.float64
    columns = np.kron(columns.T, np.eye(3))
    return rows.astype(dtype), np.ascontiguousarray(columns, dtype), divisor


def resize(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Area-averages uint8 (H, W, 3) to uint8 (64, 64, 3), rounding half up."""
    height, width, _ = image.shape
    rows, columns, divisor = _resize_matrices(height, width)
    sums = rows @ image.reshape(height, width * 3).astype(rows.dtype) @ columns
    means = (sums.astype(np.int64) + divisor // 2) // divisor
    frame: npt.NDArray[np.uint8] = means.astype(np.uint8).reshape(FRAME_SHAPE)
    return frame


class PreprocessedFrames(gym.ObservationWrapper[Any, Any, Any]):
    """Crops rows `[0, crop_rows)` of each picture (None: all of it) and resizes it to uint8 (64, 64, 3)."""

    def __init__(self, env: gym.Env[Any, Any], crop_rows: int | None = None) -> None:
        super().__init__(env)
        self._crop_rows = crop_rows
        self.observation_space = gym.spaces.Box(0, 255, FRAME_SHAPE, np.uint8)

    def observation(self, observation: Any) -> npt.NDArray[np.uint8]:
        return resize(np.ascontiguousarray(observation[: self._crop_rows]))
