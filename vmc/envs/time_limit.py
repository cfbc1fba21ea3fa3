"""The limit on episodes of an environment that has none: without it an episode may never end."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import gymnasium as gym

DEFAULT_MAX_STEPS = 1000


def has_time_limit(env: gym.Env[Any, Any]) -> bool:
    """Whether Gymnasium truncates the environment's episodes after a number of steps."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return True
        env = env.env
    return False


@cache
def tell_default_limit(name: str) -> None:
    """Says on stderr, once in a process, that the episodes of this environment are truncated."""
    print(
        f"{name} has no time limit: its episodes are truncated after {DEFAULT_MAX_STEPS} steps. "
        "Give --max-steps (`max_steps` in a recipe) for another limit.",
        file=sys.stderr,
        flush=True,
    )
