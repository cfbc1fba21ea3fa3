"""Wrappers that turn an environment's action space into a bounded Box (A,).

Outside this folder every action is a float32 vector (A,), also for an environment with discrete actions.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.envs.action_map import ActionMap, BoxActionMap, OneHotActionMap


class OneHot(gym.spaces.Box):
    """The space of one-hot vectors, float32 (A,)."""

    def __init__(self, size: int) -> None:
        super().__init__(0.0, 1.0, (size,), np.float32)

    def sample(self, mask: Any = None, probability: Any = None) -> npt.NDArray[Any]:
        """A uniformly drawn one-hot vector."""
        return OneHotActionMap(self.shape[0]).sample(self.np_random)


class OneHotActions(gym.ActionWrapper[Any, Any, Any]):
    """Takes a vector (A,) with one number per discrete action, and applies the action of the largest number."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        assert isinstance(env.action_space, gym.spaces.Discrete)
        self._first = int(env.action_space.start)
        self.action_space = OneHot(int(env.action_space.n))

    def action(self, action: npt.NDArray[np.float32]) -> int:
        return self._first + int(np.argmax(action))


class ScalarActions(gym.ActionWrapper[Any, Any, Any]):
    """Takes one number in [-1, 1], cut into n equal parts for n actions (n = 3: at -1/3 and 1/3, as in the paper)."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        assert isinstance(env.action_space, gym.spaces.Discrete)
        self._first, self._number = int(env.action_space.start), int(env.action_space.n)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def action(self, action: npt.NDArray[np.float32]) -> int:
        part = int((float(action[0]) + 1) / 2 * self._number)
        return self._first + min(max(part, 0), self._number - 1)


def with_vector_actions(env: gym.Env[Any, Any], scalar: bool) -> gym.Env[Any, Any]:
    """Wraps the environment so that its action space is a bounded Box (A,).

    Args:
        scalar: choose a discrete action by thresholds on one number, not by one number per action.

    Raises:
        ValueError: names the action space and the supported ones.
    """
    space = env.action_space
    if isinstance(space, gym.spaces.Discrete):
        return ScalarActions(env) if scalar else OneHotActions(env)
    if scalar:
        raise ValueError(f"scalar actions are for discrete actions, and its actions are {space}")
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and space.is_bounded():
        if space.shape == (0,):
            raise ValueError("its Box of actions is empty")
        return env
    raise ValueError(f"its actions are {space}, neither a bounded one-dimensional Box nor Discrete")


def action_map_for(space: gym.Space[Any]) -> ActionMap:
    """Makes the map whose actions fill an action space of `with_vector_actions`."""
    if isinstance(space, OneHot):
        return OneHotActionMap(space.shape[0])
    assert isinstance(space, gym.spaces.Box)
    return BoxActionMap.from_bounds(space.low, space.high)


def space_of(action_map: ActionMap) -> gym.spaces.Box:
    """The space of the vectors that an action map gives: a Box (A,), or `OneHot`."""
    if isinstance(action_map, OneHotActionMap):
        return OneHot(action_map.size)
    assert isinstance(action_map, BoxActionMap)
    return gym.spaces.Box(action_map.low, action_map.high)
