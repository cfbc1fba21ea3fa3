"""Observations that are not what the environment's observation space says."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from vmc.errors import VmcError


def is_picture(observation: Any, shape: tuple[int, ...] | None) -> bool:
    """Whether it is a uint8 array of this shape."""
    return isinstance(observation, np.ndarray) and observation.shape == shape and observation.dtype == np.uint8


def misfit(env: gym.Env[Any, Any], observation: Any) -> VmcError:
    """Makes the error for an observation of another shape or type than those of `env.observation_space`."""
    name = env.spec.id if env.spec else env
    if isinstance(observation, np.ndarray | np.generic):
        seen = f"an array of shape {observation.shape} and type {observation.dtype}"
    else:
        seen = f"a {type(observation).__name__}"
    space = env.observation_space
    return VmcError(
        f"{name} showed {seen}; its observation space has shape {space.shape} and type {space.dtype}.",
        "Correct its `observation_space`, or what `reset` and `step` return. "
        "`gymnasium.utils.env_checker.check_env` tells more.",
    )
