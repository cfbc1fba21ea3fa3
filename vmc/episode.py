"""One episode of one environment under one policy: the only loop that steps a real environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.errors import VmcError

# A picture, uint8 (64, 64, 3), or a vector, float32 (D,).
Frame = npt.NDArray[Any]
Action = npt.NDArray[np.float32]


class Policy(Protocol):
    """Maps frames to actions; `reset` begins an episode with that episode's own random stream."""

    def reset(self, rng: np.random.Generator) -> None: ...

    def act(self, frame: Frame) -> Action: ...


@dataclass(frozen=True)
class Limits:
    """When to truncate an episode before the environment does.

    Attributes:
        max_steps: a time limit; None leaves it to the environment.
        no_reward_limit: stop after so many steps without a positive reward (no tile reached); for training only.
    """

    max_steps: int | None = None
    no_reward_limit: int | None = None


@dataclass(frozen=True)
class EpisodeResult:
    """What one episode came to."""

    env_seed: int
    episode_return: float
    episode_length: int
    terminated: bool
    truncated: bool


@dataclass
class Trajectory:
    """A recorded episode of T steps: T actions and rewards, T + 1 frames (the terminal frame included)."""

    frames: list[Frame] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)


def run_episode(
    env: gym.Env[Any, Any],
    policy: Policy,
    env_seed: int,
    rng: np.random.Generator,
    limits: Limits = Limits(),
    trajectory: Trajectory | None = None,
) -> EpisodeResult:
    """Runs one episode from `env.reset(seed=env_seed)` to its end.

    Args:
        env: a single environment as `vmc.envs.make_env` makes it, whose observations are frames.
        rng: the policy's random stream for this episode.
        trajectory: filled with every frame, applied action and reward, when given.

    Raises:
        VmcError: the environment returned a reward that is not finite.
    """
    frame, _ = env.reset(seed=env_seed)
    policy.reset(rng)
    if trajectory is not None:
        trajectory.frames.append(frame)
    total, length, last_gain = 0.0, 0, 0
    terminated = truncated = False
    while not (terminated or truncated):
        action = policy.act(frame)
        frame, reward, terminated, truncated, _ = env.step(action)
        reward = float(reward)
        if not np.isfinite(reward):
            raise VmcError(f"{env.spec.id if env.spec else env} returned the reward {reward} at step {length}.")
        total, length = total + reward, length + 1
        last_gain = length if reward > 0 else last_gain
        if trajectory is not None:
            trajectory.frames.append(frame)
            trajectory.actions.append(action)
            trajectory.rewards.append(reward)
        truncated = bool(truncated) or _over(limits, length, last_gain)
    return EpisodeResult(env_seed, total, length, bool(terminated), truncated)


def _over(limits: Limits, length: int, last_gain: int) -> bool:
    too_long = limits.max_steps is not None and length >= limits.max_steps
    stalled = limits.no_reward_limit is not None and length - last_gain >= limits.no_reward_limit
    return too_long or stalled
