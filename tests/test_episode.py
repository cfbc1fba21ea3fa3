"""The one loop that steps an environment, on a scripted environment: exact sequences."""

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest

from vmc.episode import Decision, EpisodeResult, Limits, Trajectory, iterate_episode, run_episode
from vmc.errors import VmcError


class ScriptedEnv(gym.Env[npt.NDArray[np.uint8], npt.NDArray[np.float32]]):
    """Frame t is filled with t; the rewards and the end are given. Stepping past the end fails."""

    def __init__(self, rewards: list[float], terminated_at: int | None = None, truncated_at: int | None = None) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
        self.action_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        self._rewards = rewards
        self._terminated_at, self._truncated_at = terminated_at, truncated_at
        self.reset_seeds: list[int | None] = []
        self.seen_actions: list[npt.NDArray[np.float32]] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        self.reset_seeds.append(seed)
        self._step, self._over = 0, False
        return self._frame(), {}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        assert not self._over, "stepped after the end"
        self.seen_actions.append(action.copy())
        self._step += 1
        terminated, truncated = self._step == self._terminated_at, self._step == self._truncated_at
        self._over = terminated or truncated
        return self._frame(), self._rewards[self._step - 1], terminated, truncated, {}

    def _frame(self) -> npt.NDArray[np.uint8]:
        return np.full((64, 64, 3), self._step, np.uint8)


class EchoPolicy:
    """Acts with the number of the frame that it sees, and with a number of its own stream."""

    def __init__(self) -> None:
        self.resets = 0

    def reset(self, rng: np.random.Generator) -> None:
        self.resets += 1
        self._rng = rng

    def act(self, frame: npt.NDArray[np.uint8]) -> Decision:
        return Decision(np.array([frame[0, 0, 0], self._rng.uniform()], np.float32))


def _run(env: ScriptedEnv, limits: Limits | None = None, trajectory: Trajectory | None = None) -> EpisodeResult:
    rng = np.random.default_rng(3)
    return run_episode(env, EchoPolicy(), 11, rng, limits or Limits(), trajectory)


def test_an_episode_is_recorded_step_by_step() -> None:
    """T actions and rewards, T + 1 frames; action t was chosen on frame t; the terminal frame is there."""
    env, trajectory = ScriptedEnv([0.5, -1.0, 2.0], terminated_at=3), Trajectory()
    outcome = _run(env, trajectory=trajectory)
    assert outcome == EpisodeResult(11, 1.5, 3, terminated=True, truncated=False)
    assert [int(frame[0, 0, 0]) for frame in trajectory.frames] == [0, 1, 2, 3]
    assert trajectory.rewards == [0.5, -1.0, 2.0]
    assert [int(action[0]) for action in trajectory.actions] == [0, 1, 2]
    np.testing.assert_array_equal(trajectory.actions, env.seen_actions)
    expected = np.random.default_rng(3).uniform(size=3).astype(np.float32)
    np.testing.assert_array_equal([action[1] for action in trajectory.actions], expected)


def test_the_environment_is_reset_once_with_the_given_seed() -> None:
    """No reset at the end, and so no transition from one episode's end to the next one's start."""
    env = ScriptedEnv([0.0] * 4, terminated_at=4)
    policy = EchoPolicy()
    run_episode(env, policy, 7, np.random.default_rng(0))
    assert env.reset_seeds == [7]
    assert policy.resets == 1


@pytest.mark.parametrize("terminated_at", [None, 3, 4])
@pytest.mark.parametrize("truncated_at", [None, 3, 4])
def test_terminated_and_truncated_are_never_merged(terminated_at: int | None, truncated_at: int | None) -> None:
    end = min(filter(None, (terminated_at, truncated_at, 5)))
    outcome = _run(ScriptedEnv([1.0] * 5, terminated_at, truncated_at), Limits(max_steps=5))
    assert outcome.episode_length == end
    assert outcome.terminated is (terminated_at == end)
    assert outcome.truncated is (end in (truncated_at, 5))


@pytest.mark.parametrize("max_steps", [1, 2, 9])
def test_max_steps_is_exact(max_steps: int) -> None:
    trajectory = Trajectory()
    outcome = _run(ScriptedEnv([1.0] * 10, terminated_at=10), Limits(max_steps=max_steps), trajectory)
    assert outcome == EpisodeResult(11, float(max_steps), max_steps, terminated=False, truncated=True)
    assert len(trajectory.frames) == max_steps + 1
    assert len(trajectory.actions) == len(trajectory.rewards) == max_steps


def test_a_limit_does_not_hide_a_termination_in_the_same_step() -> None:
    outcome = _run(ScriptedEnv([1.0] * 4, terminated_at=4), Limits(max_steps=4))
    assert outcome.terminated is True


@pytest.mark.parametrize(
    ("rewards", "length"),
    [
        ([0.0] * 20, 3),  # never a reward
        ([-0.1] * 20, 3),  # negative rewards are no progress
        ([0, 0, 1, *[0.0] * 17], 6),  # three steps after the last one
        ([0, 0, 1, 0, 0, 1, *[0.0] * 14], 9),
        ([0, 0, 0, 1, *[0.0] * 16], 3),  # too late
        ([1.0] * 12, 12),  # always a reward: the environment's own end
    ],
)
def test_the_no_reward_limit_is_exact(rewards: list[float], length: int) -> None:
    outcome = _run(ScriptedEnv(rewards, terminated_at=12), Limits(no_reward_limit=3))
    assert outcome.episode_length == length
    assert outcome.truncated is (length < 12)
    assert outcome.terminated is (length == 12)


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), float("-inf")])
def test_a_reward_that_is_not_finite_is_refused(reward: float) -> None:
    with pytest.raises(VmcError, match=rf"ScriptedEnv.*{reward} at step 2"):
        _run(ScriptedEnv([0.0, 0.0, reward], terminated_at=3))


def test_flags_and_return_are_plain_python_numbers() -> None:
    """NumPy's would make `test.json` fail to be written."""
    outcome = _run(ScriptedEnv([np.float32(1.0)] * 2, terminated_at=2))  # type: ignore[list-item]
    types = [type(value) for value in (outcome.episode_return, outcome.terminated, outcome.truncated)]
    assert types == [float, bool, bool]


@pytest.mark.parametrize("limits", [Limits(), Limits(max_steps=3), Limits(no_reward_limit=2)])
def test_the_steps_of_an_episode_are_whole_transitions(limits: Limits) -> None:
    """Each step is (o_t, a_t, r_{t+1}, terminated, truncated, o_{t+1}), and begins where the one before ended."""
    env = ScriptedEnv([0.5, -1.0, -1.0, 2.0, 3.0], terminated_at=5)
    steps = list(iterate_episode(env, EchoPolicy(), 11, np.random.default_rng(3), limits))
    assert [int(step.frame[0, 0, 0]) for step in steps] == list(range(len(steps)))
    assert [int(step.next_frame[0, 0, 0]) for step in steps] == list(range(1, len(steps) + 1))
    assert all(step.next_frame is after.frame for step, after in itertools.pairwise(steps))
    assert [step.reward for step in steps] == [0.5, -1.0, -1.0, 2.0, 3.0][: len(steps)]
    np.testing.assert_array_equal([step.decision.action for step in steps], env.seen_actions)
    # The action of a step was decided at its own frame.
    assert [int(step.decision.action[0]) for step in steps] == list(range(len(steps)))
    assert not any(step.terminated or step.truncated for step in steps[:-1])
    assert len(steps) == (5 if limits == Limits() else 3)
    assert (steps[-1].terminated, steps[-1].truncated) == (limits == Limits(), limits != Limits())


@pytest.mark.parametrize("limits", [Limits(), Limits(max_steps=3), Limits(no_reward_limit=2)])
def test_a_whole_episode_is_the_sum_of_its_steps(limits: Limits) -> None:
    def env() -> ScriptedEnv:
        return ScriptedEnv([0.5, -1.0, -1.0, 2.0, 3.0], terminated_at=5)

    trajectory = Trajectory()
    outcome = _run(env(), limits, trajectory)
    steps = list(iterate_episode(env(), EchoPolicy(), 11, np.random.default_rng(3), limits))
    last, total = steps[-1], sum(step.reward for step in steps)
    assert outcome == EpisodeResult(11, total, len(steps), last.terminated, last.truncated)
    np.testing.assert_array_equal(trajectory.frames, [steps[0].frame, *(step.next_frame for step in steps)])
    np.testing.assert_array_equal(trajectory.actions, [step.decision.action for step in steps])
    assert trajectory.rewards == [step.reward for step in steps]


def test_an_episode_goes_on_only_as_far_as_it_is_asked() -> None:
    """So that a viewer can stop, and change its policy, between two steps."""
    env = ScriptedEnv([1.0] * 5, terminated_at=5)
    steps = iterate_episode(env, EchoPolicy(), 11, np.random.default_rng(3))
    assert env.reset_seeds == []
    next(steps), next(steps)
    assert len(env.seen_actions) == 2


@pytest.mark.parametrize(
    ("limits", "length", "steps_without_reward", "expected"),
    [
        (Limits(), 10**6, 10**6, False),
        (Limits(max_steps=5), 4, 4, False),
        (Limits(max_steps=5), 5, 0, True),
        (Limits(no_reward_limit=5), 9, 4, False),
        (Limits(no_reward_limit=5), 9, 5, True),
        (Limits(max_steps=9, no_reward_limit=5), 9, 1, True),
    ],
)
def test_limits_are_reached_when_they_are_met(
    limits: Limits, length: int, steps_without_reward: int, expected: bool
) -> None:
    assert limits.reached(length, steps_without_reward) is expected


class _Odd(ScriptedEnv):
    """Returns this from every step, and the frame and an info as they should be."""

    def __init__(self, *returned: Any) -> None:
        super().__init__([])
        self._returned = returned

    def step(self, action: npt.NDArray[np.float32]) -> Any:
        self._step += 1
        return self._frame(), *self._returned


@pytest.mark.parametrize(
    "outcome",
    [
        (np.array([2.0]), True, False),
        (np.float32(2), np.bool_(True), np.bool_(False)),
        (np.int64(2), np.array([True]), 0),
        (2, 1, False),
    ],
)
def test_numbers_of_other_types_are_taken_for_what_they_are(outcome: tuple[Any, ...]) -> None:
    (step,) = iterate_episode(_Odd(*outcome, {}), EchoPolicy(), 0, np.random.default_rng(0))
    assert (step.reward, step.terminated, step.truncated) == (2.0, True, False)
    assert type(step.reward) is float


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ((None, False, False, {}), r"the reward None at step 0, which is no number"),
        (("1.5", False, False, {}), r"the reward '1\.5' at step 0, which is no number"),
        ((1 + 2j, False, False, {}), r"the reward \(1\+2j\) at step 0"),
        ((np.zeros(2), False, False, {}), r"the reward array\(\[0\., 0\.\]\) at step 0"),
        ((np.nan, False, False, {}), r"the reward nan at step 0"),
        ((1e30, False, False, {}), r"the reward 1e\+30 at step 0(.|\n)*between -1e\+15 and 1e\+15"),
        ((1.0, None, False, {}), r"returned None at step 0, where terminated"),
        ((1.0, False, "no", {}), r"returned 'no' at step 0, where terminated"),
        ((1.0, False, {}), r"`step` of .* does not return observation, reward(.|\n)*the old Gym"),
    ],
)
def test_what_is_no_step_of_gymnasiums_is_told(returned: tuple[Any, ...], message: str) -> None:
    with pytest.raises(VmcError, match=message):
        list(iterate_episode(_Odd(*returned), EchoPolicy(), 0, np.random.default_rng(0)))


def test_a_reset_of_the_old_gym_is_told() -> None:
    env = ScriptedEnv([1.0])
    env.reset = lambda **_: np.zeros((64, 64, 3), np.uint8)  # type: ignore[assignment, method-assign]
    with pytest.raises(VmcError, match=r"`reset` of .* does not return observation and info"):
        list(iterate_episode(env, EchoPolicy(), 0, np.random.default_rng(0)))
