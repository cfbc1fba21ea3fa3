"""Episodes of a real environment: the only loop that steps one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, SupportsFloat

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.envs.time_limit import DEFAULT_MAX_STEPS, has_time_limit
from vmc.errors import VmcError

# A picture, uint8 (64, 64, 3), or a vector, float32 (D,).
Frame = npt.NDArray[Any]
# The square of a larger one, summed over a data set, is too large for M's float32.
MAX_REWARD = 1e15
_REWARDS = f"A reward is a number between {-MAX_REWARD:g} and {MAX_REWARD:g}; gymnasium.wrappers can change it."
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
        VmcError: the environment returned something else than Gymnasium asks for, or a reward that is not finite.
    """
    if limits.max_steps is None and not has_time_limit(env):
        limits = replace(limits, max_steps=DEFAULT_MAX_STEPS)
    with _values_counted(env, "reset", "observation and info"):
        frame, _ = env.reset(seed=env_seed, options=options)
    policy.reset(rng)
    length = last_reward = 0
    terminated = truncated = False
    while not (terminated or truncated):
        decision = policy.act(frame)
        with _values_counted(env, "step", "observation, reward, terminated, truncated and info"):
            next_frame, paid, is_terminated, is_truncated, _ = env.step(decision.action)
        reward = _number(env, paid, length)
        terminated, truncated = _flag(env, is_terminated, length), _flag(env, is_truncated, length)
        length += 1
        last_reward = length if reward > 0 else last_reward
        truncated = truncated or limits.reached(length, length - last_reward)
        yield Step(frame, decision, reward, terminated, truncated, next_frame)
        frame = next_frame


@contextmanager
def _values_counted(env: gym.Env[Any, Any], method: str, values: str) -> Iterator[None]:
    """Tells an environment of Gym's days, whose `step` returns four values and whose `reset` returns one."""
    try:
        yield
    except ValueError as error:
        if "to unpack" not in str(error):
            raise
        raise VmcError(
            f"`{method}` of {_name(env)} does not return {values} ({error}).",
            "It seems to be made for the old Gym: see Gymnasium's migration guide, or wrap it with shimmy.",
        ) from None


def _number(env: gym.Env[Any, Any], reward: Any, step: int) -> float:
    """A reward; an array of one is taken for its element, as NumPy does."""
    value = reward.item() if getattr(reward, "size", None) == 1 else reward
    if isinstance(value, str | bytes | complex | np.ndarray) or not isinstance(value, SupportsFloat):
        raise VmcError(f"{_name(env)} returned the reward {reward!r} at step {step}, which is no number.", _REWARDS)
    if not abs(float(value)) <= MAX_REWARD:  # NaN, too
        raise VmcError(f"{_name(env)} returned the reward {value} at step {step}.", _REWARDS)
    return float(value)


def _flag(env: gym.Env[Any, Any], flag: Any, step: int) -> bool:
    value = flag.item() if getattr(flag, "size", None) == 1 else flag
    if not isinstance(value, bool | int):
        raise VmcError(
            f"{_name(env)} returned {flag!r} at step {step}, where terminated and truncated are True or False.",
            "Correct what its `step` returns. `gymnasium.utils.env_checker.check_env` tells more.",
        )
    return bool(value)


def _name(env: gym.Env[Any, Any]) -> str:
    return env.spec.id if env.spec else str(env)


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
