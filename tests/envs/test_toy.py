"""The toy environment has the properties that other tests rely on."""

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.utils.env_checker import check_env

from vmc.envs import make_env
from vmc.envs.toy import ToyEnv
from vmc.episode import Decision, EpisodeResult, Trajectory, run_episode

Frame = npt.NDArray[np.uint8]


class _ColourPolicy:
    """Its action is `gain` times the target that the frame shows."""

    def __init__(self, gain: float) -> None:
        self._gain = gain

    def reset(self, rng: np.random.Generator) -> None: ...

    def act(self, frame: Frame) -> Decision:
        target = 2 * float(frame[0, 0, 2]) / 255 - 1
        return Decision(np.array([self._gain * target], np.float32))


class _WrongEnd:
    """Its action is the end of the range that is farther from the target, so each step is a miss."""

    def reset(self, rng: np.random.Generator) -> None: ...

    def act(self, frame: Frame) -> Decision:
        return Decision(np.array([-1 if frame[0, 0, 2] > frame[0, 0, 0] else 1], np.float32))


def _run(policy: _ColourPolicy | _WrongEnd, seed: int, trajectory: Trajectory | None = None) -> EpisodeResult:
    env = gym.make("vmc/Toy-v0")  # no preprocessing, because its pictures have the size of a frame
    outcome = run_episode(env, policy, seed, np.random.default_rng(0), trajectory=trajectory)
    env.close()
    return outcome


def test_gymnasiums_own_check_passes() -> None:
    check_env(ToyEnv(), skip_render_check=True)


@pytest.mark.parametrize("seed", range(5))
def test_a_perfect_policy_reaches_the_known_optimum(seed: int) -> None:
    """The return is 40 steps of reward 1, less the error of a colour with 256 levels."""
    outcome = _run(_ColourPolicy(1.0), seed)
    assert outcome.episode_return == pytest.approx(40, abs=40 / 255**2)
    assert (outcome.episode_length, outcome.terminated, outcome.truncated) == (40, False, True)


def test_a_constant_action_earns_less_and_the_wrong_sign_loses() -> None:
    still = np.mean([_run(_ColourPolicy(0.0), seed).episode_return for seed in range(30)])
    wrong = np.mean([_run(_ColourPolicy(-1.0), seed).episode_return for seed in range(30)])
    assert 15 < still < 32
    assert wrong < 5


def test_the_eighth_miss_terminates() -> None:
    trajectory = Trajectory()
    outcome = _run(_WrongEnd(), 0, trajectory)
    assert (outcome.episode_length, outcome.terminated, outcome.truncated) == (8, True, False)
    bars = [int((frame[60] == 255).all(axis=1).sum()) for frame in trajectory.frames]
    assert bars == [8 * misses for misses in range(9)]


def test_preprocessing_leaves_its_pictures_as_they_are() -> None:
    plain, framed = gym.make("vmc/Toy-v0"), make_env("vmc/Toy-v0")
    np.testing.assert_array_equal(plain.reset(seed=1)[0], framed.reset(seed=1)[0])


def test_an_episode_depends_on_its_seed_alone() -> None:
    env = gym.make("vmc/Toy-v0")
    first, _ = env.reset(seed=1)
    env.step(np.zeros(1, np.float32))
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(env.reset(seed=2)[0], first)
    env.close()
