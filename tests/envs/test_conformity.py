"""Observations that are not in the observation space are told with both, not by a traceback of `np.stack`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from vmc.envs.observations import with_frames
from vmc.errors import VmcError

VECTOR = gym.spaces.Box(-1, 1, (3,), np.float32)
PICTURE = gym.spaces.Box(0, 255, (80, 96, 3), np.uint8)
GREY = gym.spaces.Box(0, 255, (80, 96), np.uint8)


class _Shows(gym.Env[Any, Any]):
    def __init__(self, space: gym.Space[Any], first: Any, later: Any) -> None:
        self.observation_space, self._first, self._later = space, first, later

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return self._first, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self._later, 0.0, False, False, {}


def _good(space: gym.Space[Any]) -> Any:
    return np.zeros(space.shape or (), space.dtype)


@pytest.mark.parametrize(
    ("space", "shown", "told"),
    [
        (VECTOR, np.zeros(4, np.float32), r"shape \(4,\) and type float32; .* shape \(3,\) and type float32"),
        (VECTOR, np.zeros((3, 1), np.float32), r"shape \(3, 1\)"),
        (VECTOR, {"angle": 1.0}, "showed a dict;"),
        (VECTOR, [[1.0], [2.0, 3.0]], "showed a list;"),
        (PICTURE, np.zeros((80, 96, 3), np.float32), r"\(80, 96, 3\) and type float32; .* and type uint8"),
        (PICTURE, np.zeros((96, 80, 3), np.uint8), r"shape \(96, 80, 3\) .* shape \(80, 96, 3\)"),
        (GREY, np.zeros((80, 96, 1), np.uint8), r"shape \(80, 96, 1\) .* shape \(80, 96\)"),
    ],
)
def test_another_shape_or_type_is_told(space: gym.Space[Any], shown: Any, told: str) -> None:
    with pytest.raises(VmcError, match=told) as caught:
        with_frames(_Shows(space, shown, shown), None, pixels=False).reset()
    assert "check_env" in str(caught.value)
    env = with_frames(_Shows(space, _good(space), shown), None, pixels=False)
    env.reset()
    with pytest.raises(VmcError, match=told):
        env.step(0)


@pytest.mark.parametrize("vector", [np.zeros(3), [0.0, 0.0, 0.0], (0, 0, 0)])
def test_numbers_of_another_precision_are_turned_into_float32(vector: Any) -> None:
    frame, _ = with_frames(_Shows(VECTOR, vector, vector), None, pixels=False).reset()
    assert (frame.shape, frame.dtype) == ((3,), np.float32)
