"""Actions of dream environments: the real environment's own on the outside, M's vectors within."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.envs.actions import OneHot
from vmc.errors import VmcError


def shown_space(space: gym.spaces.Box) -> gym.Space[Any]:
    """The action space of the real environment whose actions M sees as vectors of `space`."""
    return gym.spaces.Discrete(space.shape[0]) if isinstance(space, OneHot) else space


def to_vectors(space: gym.spaces.Box, actions: npt.NDArray[Any], num_dreams: int) -> npt.NDArray[np.float32]:
    """Actions of N dreams as M has seen them, float32 (N, A).

    Args:
        space: of one dream's vectors.
        actions: (N, A), which are clipped to a Box; whole numbers (N,) where the real actions are discrete.

    Raises:
        VmcError: actions of another shape, not finite, or not among the discrete ones.
    """
    expected = (num_dreams, *(shown_space(space).shape or ()))
    if actions.shape != expected:
        raise VmcError(f"The actions have shape {actions.shape}; this dream expects {expected}.")
    if not np.isfinite(actions).all():
        raise VmcError("The actions hold NaN or infinity.", "Has the policy diverged?")
    if not isinstance(space, OneHot):
        return np.asarray(np.clip(actions, space.low, space.high), np.float32)
    size = space.shape[0]
    wrong = ~np.isin(actions, np.arange(size))
    if wrong.any():
        raise VmcError(f"The actions hold {actions[wrong][0]}; this dream expects whole numbers from 0 to {size - 1}.")
    return np.eye(size, dtype=np.float32)[actions.astype(np.int64)]
