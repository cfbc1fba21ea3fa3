"""A toy with a known optimum, for tests of the whole chain: paint back the colour that you see."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

_MAX_MISSES = 8
_STEP = 0.25


class ToyEnv(gym.Env[npt.NDArray[np.uint8], npt.NDArray[np.float32]]):
    """The frame is one colour between red (target -1) and blue (target +1); the action should equal the target.

    Reward 1 - (action - target)^2, so the optimum is `episode_length`; the constant action 0 earns about 0.6 a
    step, and a policy with the wrong sign loses. The target walks at random inside [-1, 1]. A step that is off by
    more than 1 is a miss, drawn as a white bar that grows with the misses; the eighth terminates the episode.
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
