"""Turns an environment's picture into V's 64x64x3 frame: a crop, then an area-average resize.

Every output pixel is the mean of the source area that it covers, so the result is antialiased. The arithmetic is exact
and rounds half up, so every machine gives the same bits.
"""

from __future__ import annotations

from functools import cache
from math import gcd
from pathlib import Path
from typing import Any

import gymnasium as gym
import numba
import numpy as np
import numpy.typing as npt

from vmc.envs.conformity import is_picture, misfit

FRAME_SIZE = 64
FRAME_SHAPE = (FRAME_SIZE, FRAME_SIZE, 3)
# Every data set stores this name. A change of the code that can change a frame must change the name too.
PREPROCESSING = "area-64-v1"

Ints = npt.NDArray[np.int32]


@cache
def _spans(source: int) -> tuple[Ints, Ints, int]:
    """Finds the source cells that each of the 64 target cells covers.

    With g = gcd(source, 64) and a suitable unit, a source cell is `64 / g` units wide and a target cell `source / g`.

    Returns:
        The covered cells and their overlaps, each int32 (64, longest span), and the sum of the overlaps of one span.
        Shorter spans are padded with overlaps of 0.
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
    """Sums the rows into `line` (W * 3,), which is contiguous, then sums along `line`.

    (total + 1/2) / divisor differs from every integer by at least 1 / (2 divisor). Its product with the rounded
    reciprocal therefore has the same integer part as the exact quotient.
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
    """Resizes uint8 (H, W, 3) to uint8 (64, 64, 3) by area averages, rounded half up."""
    height, width, _ = image.shape
    rows, row_overlaps, row_sum = _spans(height)
    columns, overlaps, column_sum = _spans(width)
    frame = np.empty(FRAME_SHAPE, np.uint8)
    line = np.empty(width * 3, np.int32)
    flat = image.reshape(height, width * 3)
    _average(flat, frame, line, rows, row_overlaps, columns, overlaps, row_sum * column_sum)
    return frame


def warm_up() -> None:
    """Compiles the resize, or loads it from numba's cache, so that worker processes only read the cache."""
    resize(np.zeros((FRAME_SIZE, FRAME_SIZE, 3), np.uint8))


def cache_folder() -> Path:
    """The folder in which numba keeps the compiled resize."""
    return Path(str(_average.stats.cache_path))


class PreprocessedFrames(gym.ObservationWrapper[Any, Any, Any]):
    """Crops rows `[0, crop_rows)` of each picture (None keeps all) and resizes it to uint8 (64, 64, 3)."""

    def __init__(self, env: gym.Env[Any, Any], crop_rows: int | None = None) -> None:
        super().__init__(env)
        self._crop_rows = crop_rows
        self._shape = env.observation_space.shape
        self.observation_space = gym.spaces.Box(0, 255, FRAME_SHAPE, np.uint8)

    def observation(self, observation: Any) -> npt.NDArray[np.uint8]:
        """Raises a `VmcError` if the picture is not as the observation space says."""
        if not is_picture(observation, self._shape):
            raise misfit(self.env, observation)
        return resize(np.ascontiguousarray(observation[: self._crop_rows]))
