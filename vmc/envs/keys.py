"""The keys by which a person acts in an environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.envs.actions import OneHot

Action = npt.NDArray[np.float32]

LEFT, RIGHT, UP, DOWN = "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"
# For a Box that nothing is known about: each dimension takes a pair, which push it up and down.
_PAIRS = ((RIGHT, LEFT), (UP, DOWN), ("d", "a"), ("w", "s"), ("l", "j"), ("i", "k"), ("h", "f"), ("t", "g"))
_DIGITS = "1234567890"
# A key, or a pointer, that is pressed by less chooses no discrete action.
_PRESSED = 0.3


class Key(NamedTuple):
    """A key, and what it does.

    Attributes:
        name: as browsers name it (`KeyboardEvent.key`): `ArrowLeft`, `a`, `1`.
        label: for the person: `steer left`.
        effect: what the key, fully pressed, adds to the action at rest, (A,); or the number of a discrete action.
    """

    name: str
    label: str
    effect: Any


@dataclass(frozen=True)
class Keyboard:
    """The keys of an environment.

    Attributes:
        keys: all of them.
        rest: the discrete action without a key; None repeats the last one.
        ramp_steps: steps after which a pressed key is fully pressed, so that a short press is a small action.
    """

    keys: tuple[Key, ...]
    rest: int | None = None
    ramp_steps: int = 1

    def fits(self, space: gym.spaces.Box) -> bool:
        """Returns whether all effects are actions of this space, one of `make_env`."""
        if isinstance(space, OneHot):
            return all(isinstance(key.effect, int) and key.effect < space.shape[0] for key in self.keys)
        return all(isinstance(key.effect, tuple) and len(key.effect) == space.shape[0] for key in self.keys)

    def action(self, space: gym.spaces.Box, pressed: Mapping[str, float], last: Action) -> Action:
        """The action of pressed keys.

        Args:
            pressed: how far each key is pressed, from 0 to 1; a key that is not named is not pressed.
            last: the action before, (A,).

        Returns:
            An action of the space, float32 (A,).
        """
        if isinstance(space, OneHot):
            return self._discrete(space.shape[0], pressed, last)
        action = at_rest(space)
        for key in self.keys:
            action = action + pressed.get(key.name, 0.0) * np.asarray(key.effect, np.float32)
        return np.asarray(np.clip(action, space.low, space.high), np.float32)

    def _discrete(self, size: int, pressed: Mapping[str, float], last: Action) -> Action:
        strongest = max(self.keys, key=lambda key: pressed.get(key.name, 0.0))
        number = strongest.effect if pressed.get(strongest.name, 0.0) >= _PRESSED else self.rest
        return last if number is None else _one_hot(size, int(number))


def at_rest(space: gym.spaces.Box) -> Action:
    """The action without a key, float32 (A,): zeros, where the space has them; of discrete actions the first."""
    if isinstance(space, OneHot):
        return _one_hot(space.shape[0], 0)
    return np.asarray(np.clip(np.zeros(space.shape), space.low, space.high), np.float32)


def _one_hot(size: int, number: int) -> Action:
    action = np.zeros(size, np.float32)
    action[number] = 1
    return action


def default_keyboard(space: gym.spaces.Box) -> Keyboard:
    """Keys for an action space of `make_env` that nothing else is known about."""
    size = space.shape[0]
    if isinstance(space, OneHot):
        return Keyboard(tuple(Key(digit, f"action {n}", n) for n, digit in enumerate(_DIGITS[:size])))
    return Keyboard(tuple(key for n, pair in enumerate(_PAIRS[:size]) for key in _pair(space, n, pair)))


def _pair(space: gym.spaces.Box, dimension: int, names: tuple[str, str]) -> list[Key]:
    """The two keys of a dimension, but those that would change nothing."""
    rest, found = at_rest(space)[dimension], []
    for name, bound, sign in zip(reversed(names), (space.low, space.high), "-+", strict=True):
        effect = np.zeros(space.shape[0])
        effect[dimension] = bound[dimension] - rest
        if effect.any():
            found.append(Key(name, f"action {dimension} {sign}", tuple(effect.tolist())))
    return found
