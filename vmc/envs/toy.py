"""A toy environment with a known optimum, for tests of the whole pipeline. The action must match the shown colour."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

_MAX_MISSES = 8
_STEP = 0.25


class ToyEnv(gym.Env[npt.NDArray[np.uint8], npt.NDArray[np.float32]]):
    """The frame is one colour between red (target -1) and blue (target +1); the action should equal the target.

    The reward is 1 - (action - target)^2, so the best return is the episode's length. The constant action 0 gets about
    0.6 per step; a policy with the wrong sign gets less than 0. The target is a random walk in [-1, 1]. An error of
    more than 1 is a miss. A white bar shows the number of misses, and the eighth miss terminates the episode.
    """

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        super().reset(seed=seed)
        self._target = self.np_random.uniform(-1, 1)
        self._misses = 0
        return self._draw(), {}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        error = float(action[0]) - self._target
        self._misses += abs(error) > 1
        self._target = float(np.clip(self._target + self.np_random.uniform(-_STEP, _STEP), -1, 1))
        return self._draw(), 1 - error**2, self._misses >= _MAX_MISSES, False, {}

    def _draw(self) -> npt.NDArray[np.uint8]:
        blue = round(255 * (self._target + 1) / 2)
        frame = np.empty((64, 64, 3), np.uint8)
        frame[:] = (255 - blue, 0, blue)
        frame[56:, : 8 * self._misses] = 255
        return frame
