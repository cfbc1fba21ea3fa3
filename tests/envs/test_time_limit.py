"""An environment without a time limit gets one, and that is told once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from vmc.envs import check_env, make_env
from vmc.envs.time_limit import DEFAULT_MAX_STEPS, has_time_limit, tell_default_limit
from vmc.episode import Limits, run_episode
from vmc.policies import RandomPolicy


class _Endless(gym.Env[Any, Any]):
    """Never ends."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2, np.float32), 1.0, False, False, {}


def _limited_by_itself() -> gym.Env[Any, Any]:
    return gym.wrappers.TimeLimit(_Endless(), 5)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gym.register("tests/Endless-v0", entry_point=_Endless)
    gym.register("tests/Ending-v0", entry_point=_limited_by_itself)
    yield
    for name in ("tests/Endless-v0", "tests/Ending-v0"):
        gym.registry.pop(name)


def _length(name: str, limits: Limits) -> int:
    env = make_env(name)
    from vmc.envs import action_map_of

    rng = np.random.default_rng(0)
    outcome = run_episode(env, RandomPolicy(action_map_of(name, env)), 0, rng, limits)
    assert (outcome.terminated, outcome.truncated) == (False, True)
    return outcome.episode_length


def test_an_endless_episode_is_truncated() -> None:
    assert _length("tests/Endless-v0", Limits()) == DEFAULT_MAX_STEPS == 1000


def test_a_given_limit_beats_the_default_one() -> None:
    assert _length("tests/Endless-v0", Limits(max_steps=1200)) == 1200


def test_a_limit_of_the_environment_is_its_own() -> None:
    assert _length("tests/Ending-v0", Limits()) == 5
    assert has_time_limit(make_env("vmc/Toy-v0"))
    assert not has_time_limit(make_env("tests/Endless-v0"))


def test_the_default_limit_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    tell_default_limit.cache_clear()
    for name in ("tests/Ending-v0", "vmc/Toy-v0"):
        check_env(name)
    check_env("tests/Endless-v0", max_steps=50)
    assert capfd.readouterr().err == ""
    check_env("tests/Endless-v0")
    told = capfd.readouterr()
    assert "tests/Endless-v0 has no time limit: its episodes are truncated after 1000 steps." in told.err
    assert "--max-steps" in told.err
    assert told.out == ""
    check_env("tests/Endless-v0")
    assert capfd.readouterr().err == ""
