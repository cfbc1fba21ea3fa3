"""Episodes of a real environment: the only loop that steps one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.envs.time_limit import DEFAULT_MAX_STEPS, has_time_limit
from vmc.errors import VmcError

# A picture, uint8 (64, 64, 3), or a vector, float32 (D,).
Frame = npt.NDArray[Any]
Action = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float32]


class Decision(NamedTuple):
    """A policy's decision at a frame; an agent also gives z, features and outputs.

    Attributes:
        action: (A,), as the environment takes it.
        latent: z (Z,).
        features: what C could read, by name: z, h ...
        outputs: C's, before action noise and action map, (A,).
    """

    action: Action
    latent: Floats | None = None
    features: Mapping[str, Floats] | None = None
    outputs: Floats | None = None


class Policy(Protocol):
    """Maps frames to actions."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begins an episode, with that episode's own random stream."""
        ...

    def act(self, frame: Frame) -> Decision:
        """Decides at the present frame."""
        ...


@dataclass(frozen=True)
class Limits:
    """When to truncate an episode before the environment does.

    Attributes:
        max_steps: a time limit; None leaves it to the environment, and is `DEFAULT_MAX_STEPS` where that has none.
        no_reward_limit: truncate after so many steps without a positive reward; for training only.
    """

    max_steps: int | None = None
    no_reward_limit: int | None = None

    def reached(self, length: int, steps_without_reward: int) -> bool:
        """Returns whether an episode of this length is truncated."""
        if self.max_steps is not None and length >= self.max_steps:
            return True
        return self.no_reward_limit is not None and steps_without_reward >= self.no_reward_limit


class Step(NamedTuple):
    """One step of an episode: the transition (o_t, a_t, r_{t+1}, terminated, truncated, o_{t+1}).

    Attributes:
        frame: o_t, which the policy saw.
        decision: of the policy; `decision.action` is a_t.
        next_frame: o_{t+1}.
    """

    frame: Frame
    decision: Decision
    reward: float
    terminated: bool
    truncated: bool
    next_frame: Frame


@dataclass(frozen=True)
class EpisodeResult:
    """Return, length and end of one episode."""

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

    def append(self, step: Step) -> None:
        """Adds a step."""
        if not self.frames:
            self.frames.append(step.frame)
        self.frames.append(step.next_frame)
        self.actions.append(step.decision.action)
        self.rewards.append(step.reward)


def iterate_episode(
    env: gym.Env[Any, Any],
    policy: Policy,
    env_seed: int,
    rng: np.random.Generator,
    limits: Limits = Limits(),
    options: dict[str, Any] | None = None,
) -> Iterator[Step]:
    """Yields the steps of one episode, from `env.reset(seed=env_seed, options=options)` to its end.

    Args:
        env: a single environment as `vmc.envs.make_env` makes it, whose observations are frames.
        rng: the policy's random stream for this episode.

    Raises:
        VmcError: the environment returned a reward that is not finite.
    """
    if limits.max_steps is None and not has_time_limit(env):
        limits = replace(limits, max_steps=DEFAULT_MAX_STEPS)
    frame, _ = env.reset(seed=env_seed, options=options)
    policy.reset(rng)
    length = last_reward = 0
    terminated = truncated = False
    while not (terminated or truncated):
        decision = policy.act(frame)
        next_frame, reward, terminated, truncated, _ = env.step(decision.action)
        reward, terminated = float(reward), bool(terminated)
        if not np.isfinite(reward):
            raise VmcError(f"{env.spec.id if env.spec else env} returned the reward {reward} at step {length}.")
        length += 1
        last_reward = length if reward > 0 else last_reward
        truncated = bool(truncated) or limits.reached(length, length - last_reward)
        yield Step(frame, decision, reward, terminated, truncated, next_frame)
        frame = next_frame


def run_episode(
    env: gym.Env[Any, Any],
    policy: Policy,
    env_seed: int,
    rng: np.random.Generator,
    limits: Limits = Limits(),
    trajectory: Trajectory | None = None,
) -> EpisodeResult:
    """Runs one episode to its end.

    Args:
        env, policy, env_seed, rng, limits: as for `iterate_episode`.
        trajectory: filled with every frame, applied action and reward, when given.

    Raises:
        VmcError: the environment returned a reward that is not finite.
    """
    total, length = 0.0, 0
    for step in iterate_episode(env, policy, env_seed, rng, limits):
        total, length = total + step.reward, length + 1
        if trajectory is not None:
            trajectory.append(step)
    return EpisodeResult(env_seed, total, length, step.terminated, step.truncated)
