"""The keys that a person holds, as an action."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.envs import Keyboard, at_rest

# C takes over again when no key was pressed for so many steps.
REST_STEPS = 25


class Wheel:
    """A person's hands on the keys.

    Args:
        keyboard: of the environment.
        space: of its actions, one of `make_env`.
        person_drives: whether the person's action counts even when no key is pressed.
    """

    def __init__(self, keyboard: Keyboard, space: gym.spaces.Box, person_drives: bool) -> None:
        self._keyboard, self._space, self.person_drives = keyboard, space, person_drives
        self._held: dict[str, float] = {}
        self._pressed: dict[str, float] = {}
        self._last = at_rest(space)
        self._resting = REST_STEPS

    def press(self, key: str, strength: float) -> None:
        """Presses a key from the next step on; a strength of 0 releases it."""
        self._held[key] = min(strength, 1.0)

    def action(self) -> npt.NDArray[np.float32] | None:
        """The person's action for the next step, (A,); None leaves it to C."""
        ramp = 1 / self._keyboard.ramp_steps
        before = self._pressed
        self._pressed = {key: min(held, before.get(key, 0.0) + ramp) for key, held in self._held.items() if held > 0}
        self._resting = 0 if self._pressed else self._resting + 1
        if not self.person_drives and self._resting >= REST_STEPS:
            return None
        self._last = self._keyboard.action(self._space, self._pressed, self._last)
        return self._last
