"""Frames are exact area averages of pictures."""

from fractions import Fraction
from math import ceil, floor, lcm
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vmc.envs.preprocess import FRAME_SHAPE, PreprocessedFrames, resize

Picture = npt.NDArray[np.uint8]


def _random_picture(height: int, width: int, seed: int) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _overlaps(cell: int, source: int) -> dict[int, Fraction]:
    """The share of each source pixel that target cell `cell` of 64 covers."""
    start, end = Fraction(cell * source, 64), Fraction((cell + 1) * source, 64)
    covered = range(floor(start), ceil(end))
    return {pixel: min(end, Fraction(pixel + 1)) - max(start, Fraction(pixel)) for pixel in covered}


def _area_average(picture: Picture, row: int, column: int, channel: int) -> int:
    """The definition in exact arithmetic: the mean over the covered area, rounded half up."""
    height, width, _ = picture.shape
    total = sum(
        (
            down * across * int(picture[y, x, channel])
            for y, down in _overlaps(row, height).items()
            for x, across in _overlaps(column, width).items()
        ),
        Fraction(0),
    )
    return floor(total / (Fraction(height, 64) * Fraction(width, 64)) + Fraction(1, 2))


def _check_some_pixels(picture: Picture, seed: int, count: int) -> None:
    frame = resize(picture)
    cells = np.random.default_rng(seed).integers(0, 64, (count, 2)).tolist()
    for row, column in [(0, 0), (63, 63), *cells]:
        expected = [_area_average(picture, row, column, channel) for channel in range(3)]
        assert frame[row, column].tolist() == expected, (row, column)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 140), st.integers(1, 140), st.integers(0, 2**32 - 1))
def test_resize_is_the_exact_area_average(height: int, width: int, seed: int) -> None:
    _check_some_pixels(_random_picture(height, width, seed), seed, 10)


@pytest.mark.parametrize("shape", [(84, 96), (96, 96), (400, 600), (210, 160), (521, 523)])
def test_resize_is_exact_at_the_sizes_of_real_environments(shape: tuple[int, int]) -> None:
    """The sides 521 and 523 are primes, so the sums of the average are large."""
    _check_some_pixels(_random_picture(*shape, seed=1), 1, 100)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1), st.integers(0, 2**32 - 1))
def test_halves_are_rounded_up(low: int, seed: int) -> None:
    """A picture of 128 x 128 gives means of four numbers, and many of them are exact halves."""
    picture = np.random.default_rng(seed).integers(low, low + 3, (128, 128, 3)).astype(np.uint8)
    sums = picture.reshape(64, 2, 64, 2, 3).sum(axis=(1, 3))
    np.testing.assert_array_equal(resize(picture), (sums + 2) // 4)


@pytest.mark.parametrize(("height", "width"), [(128, 192), (84, 96), (96, 96)])
def test_resize_agrees_with_pillows_box_filter(height: int, width: int) -> None:
    """Pillow rounds after each axis, so it may be off by one level.

    Its box filter never uses a part of a source pixel, so it averages areas only at whole-number ratios. The picture
    is therefore enlarged first, by repeated pixels, to a multiple of 64.
    """
    picture = _random_picture(height, width, 5)
    large = Image.fromarray(picture.repeat(lcm(height, 64) // height, axis=0).repeat(lcm(width, 64) // width, axis=1))
    box = np.asarray(large.resize((64, 64), Image.Resampling.BOX))
    assert np.abs(resize(picture).astype(int) - box.astype(int)).max() <= 1


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 300), st.integers(1, 300), st.tuples(*[st.integers(0, 255)] * 3))
def test_a_constant_picture_stays_constant(height: int, width: int, colour: tuple[int, int, int]) -> None:
    frame = resize(np.full((height, width, 3), colour, np.uint8))
    assert frame.shape == FRAME_SHAPE
    assert frame.dtype == np.uint8
    assert (frame == np.array(colour)).all()


def test_a_frame_sized_picture_is_unchanged() -> None:
    picture = _random_picture(64, 64, 0)
    np.testing.assert_array_equal(resize(picture), picture)


def test_a_picture_that_is_not_contiguous_gives_the_same_frame() -> None:
    picture = _random_picture(84, 96, 0)
    np.testing.assert_array_equal(resize(np.asfortranarray(picture)), resize(picture))
    np.testing.assert_array_equal(resize(picture[::-1, ::-1]), resize(np.ascontiguousarray(picture[::-1, ::-1])))


class PictureEnv(gym.Env[Picture, npt.NDArray[np.float32]]):
    """An environment that always shows the given picture."""

    def __init__(self, picture: Picture) -> None:
        self.observation_space = gym.spaces.Box(0, 255, picture.shape, np.uint8)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self._picture = picture

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Picture, dict[str, Any]]:
        super().reset(seed=seed)
        return self._picture, {}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Picture, float, bool, bool, dict[str, Any]]:
        return self._picture, 0.0, False, False, {}


def test_rows_below_the_crop_are_never_seen() -> None:
    """CarRacing's frame uses rows 0 to 83 and drops rows 84 to 95, the panel."""
    picture = _random_picture(96, 96, 2)
    env = PreprocessedFrames(PictureEnv(picture), crop_rows=84)
    frame, _ = env.reset()
    np.testing.assert_array_equal(frame, resize(picture[:84]))
    np.testing.assert_array_equal(env.step(env.action_space.sample())[0], frame)
    picture[84:] = 0
    np.testing.assert_array_equal(env.reset()[0], frame)
    picture[83] ^= 128
    assert (env.reset()[0][-1] != frame[-1]).any()


@pytest.mark.parametrize("crop_rows", [None, 84])
def test_frames_are_in_the_declared_space(crop_rows: int | None) -> None:
    env = PreprocessedFrames(PictureEnv(_random_picture(96, 96, 3)), crop_rows)
    frame, _ = env.reset()
    assert env.observation_space == gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    assert env.observation_space.contains(frame)
