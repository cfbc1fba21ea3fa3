"""Frames from the supported kinds of observations."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from vmc.envs import PREPROCESSING, VECTORS, make_env, preprocessing_of
from vmc.envs.observations import with_frames
from vmc.envs.preprocess import resize
from vmc.errors import VmcError

PICTURE = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
GREY = PICTURE[:, :, 0]
GREY_RGB = np.repeat(GREY[:, :, None], 3, axis=2)


class _Shows(gym.Env[Any, Any]):
    """An environment with one constant observation."""

    def __init__(self, space: gym.Space[Any], observation: Any) -> None:
        self.observation_space = space
        self._observation = observation

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self._observation, {}


def _frame(space: gym.Space[Any], observation: Any, crop_rows: int | None = None) -> Any:
    env = with_frames(_Shows(space, observation), crop_rows, pixels=False)
    frame = env.reset()[0]
    assert env.observation_space.contains(frame)
    return frame


@pytest.mark.parametrize(
    ("observation", "rgb"),
    [
        (PICTURE, PICTURE),
        (np.dstack([PICTURE, GREY]), PICTURE),
        (GREY, GREY_RGB),
        (GREY[:, :, None], GREY_RGB),
        (GREY[None], GREY_RGB),
        (np.ascontiguousarray(np.moveaxis(PICTURE, 2, 0)), PICTURE),
    ],
    ids=["rgb", "rgba", "grey", "grey-last", "grey-first", "channels-first"],
)
def test_every_layout_of_pictures(observation: np.ndarray, rgb: np.ndarray) -> None:
    space = gym.spaces.Box(0, 255, observation.shape, np.uint8)
    np.testing.assert_array_equal(_frame(space, observation), resize(np.ascontiguousarray(rgb)))
    cropped = _frame(space, observation, crop_rows=60)
    np.testing.assert_array_equal(cropped, resize(np.ascontiguousarray(rgb[:60])))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
def test_vectors_are_float32_in_the_environments_units(dtype: type) -> None:
    vector = np.array([1, 2, 3], dtype)
    frame = _frame(gym.spaces.Box(0, 5, (3,), dtype), vector)
    assert frame.dtype == np.float32
    np.testing.assert_array_equal(frame, [1, 2, 3])


def test_a_vector_that_is_not_finite_is_told() -> None:
    with pytest.raises(VmcError, match="not finite"):
        _frame(gym.spaces.Box(-np.inf, np.inf, (2,)), np.array([1, np.nan], np.float32))


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Dict({"a": gym.spaces.Discrete(2)}),
        gym.spaces.Discrete(16),
        gym.spaces.Box(0, 1, (8, 8, 3), np.float32),
        gym.spaces.Box(0, 255, (8, 8, 7), np.uint8),
        gym.spaces.Box(0, 255, (4, 8, 8, 3), np.uint8),
    ],
)
def test_what_does_not_fit_is_told(space: gym.Space[Any]) -> None:
    with pytest.raises(ValueError, match="neither uint8 pictures nor a one-dimensional Box"):
        with_frames(_Shows(space, None), None, pixels=False)


def test_preprocessing_is_named() -> None:
    for name, expected in (("CartPole-v1", VECTORS), ("CartPole-v1,pixels", PREPROCESSING)):
        env = make_env(name)
        assert preprocessing_of(env) == expected
        env.close()


def test_pixels_are_what_is_rendered() -> None:
    env = make_env("CartPole-v1,pixels")
    frame, _ = env.reset(seed=3)
    assert (frame.shape, frame.dtype) == ((64, 64, 3), np.uint8)
    np.testing.assert_array_equal(frame, resize(np.ascontiguousarray(env.render())))
    for _ in range(10):  # one step moves the cart by less than a pixel
        after = env.step(np.array([0, 1], np.float32))[0]
    assert not np.array_equal(frame, after)
    env.close()


def test_pixels_of_an_environment_that_renders_none_are_told() -> None:
    with pytest.raises(VmcError, match="renders no rgb_array"):
        make_env("vmc/Toy-v0,pixels")
