"""The policies that make the first data set. Seeds are fixed, so no test here fails by chance; the odds are for a
change of the seed.
"""

import numpy as np
import numpy.typing as npt
import pytest

from vmc.envs import TASKS, BoxActionMap
from vmc.envs.action_map import OneHotActionMap
from vmc.episode import Policy
from vmc.policies import POLICIES, ActionNoise, BrownianPolicy, OrnsteinUhlenbeck, RandomPolicy

FRAME = np.zeros((64, 64, 3), np.uint8)
LOPSIDED = BoxActionMap.from_bounds([-2.0, 0.0, 5.0], [3.0, 1.0, 5.5])


def _carracing() -> BoxActionMap:
    action_map = TASKS["CarRacing-v3"].action_map
    assert action_map is not None
    return action_map()


def _actions(policy: Policy, seed: int, steps: int) -> npt.NDArray[np.float32]:
    policy.reset(np.random.default_rng(seed))
    return np.stack([policy.act(FRAME).action for _ in range(steps)])


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("action_map", [_carracing(), LOPSIDED], ids=["carracing", "lopsided"])
def test_actions_stay_in_bounds(name: str, action_map: BoxActionMap) -> None:
    actions = _actions(POLICIES[name](action_map), 0, 3000)
    assert actions.dtype == np.float32
    assert (actions >= action_map.low).all()
    assert (actions <= action_map.high).all()
    # Both come near both ends of every dimension (CarRacing's brake is at 0 half of the time).
    reach = np.ptp(actions, axis=0) / (action_map.high - action_map.low)
    assert (reach > 0.9).all()


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_stream_gives_the_same_actions(name: str) -> None:
    policy = POLICIES[name](_carracing())
    first = _actions(policy, 5, 200)
    np.testing.assert_array_equal(first, _actions(policy, 5, 200))  # nothing is left over from an episode
    np.testing.assert_array_equal(first, _actions(POLICIES[name](_carracing()), 5, 200))
    assert not np.array_equal(first, _actions(policy, 6, 200))


def test_the_random_policy_holds_each_action_for_1_to_10_steps() -> None:
    """Every length is met, about equally often: 2,000 holds in 11,000 steps, 200 +- 13 of each; 6 sigma is 1e-9."""
    actions = _actions(RandomPolicy(_carracing()), 1, 11_000)
    changes = np.flatnonzero((np.diff(actions, axis=0) != 0).any(axis=1)) + 1
    holds = np.diff(np.concatenate([[0], changes]))
    assert set(holds) == set(range(1, 11))
    counts = np.bincount(holds)[1:]
    assert counts.min() > 120
    assert counts.max() < 280


def test_the_random_policy_is_uniform() -> None:
    """About 2,000 independent actions: a mean in units of the range is 0.5 +- 0.0065; 0.04 is 6 sigma (2e-9)."""
    actions = _actions(RandomPolicy(LOPSIDED), 2, 11_000)
    means = (actions.mean(axis=0) - LOPSIDED.low) / (LOPSIDED.high - LOPSIDED.low)
    np.testing.assert_allclose(means, 0.5, atol=0.04)


@pytest.mark.parametrize("correlation_steps", [1.0, 5.0, 20.0])
def test_the_noise_has_unit_variance_and_the_stated_correlation(correlation_steps: float) -> None:
    """corr(x_t, x_{t+n}) = exp(-n / correlation_steps) and var(x_t) = 1 from the first step on.

    40,000 independent processes: standard errors are at most 0.005 (correlation) and 0.0071 (variance), so the
    tolerances are 6 sigma: about 2e-9 a comparison.
    """
    noise = OrnsteinUhlenbeck(40_000, correlation_steps)
    noise.reset(np.random.default_rng(3))
    steps = np.stack([noise.step() for _ in range(21)])
    np.testing.assert_allclose(steps.var(axis=1), 1.0, atol=0.043)
    np.testing.assert_allclose(steps.mean(axis=1), 0.0, atol=0.03)
    for lag in (1, 5, 20):
        found = np.mean(steps[0] * steps[lag])
        assert found == pytest.approx(np.exp(-lag / correlation_steps), abs=0.043)


def test_the_brownian_policy_is_the_squashed_noise() -> None:
    action_map = _carracing()
    noise = OrnsteinUhlenbeck(action_map.size, 20.0)
    noise.reset(np.random.default_rng(4))
    expected = np.stack([action_map(noise.step()) for _ in range(50)])
    np.testing.assert_array_equal(_actions(BrownianPolicy(action_map), 4, 50), expected)


def test_the_brownian_policy_does_not_stick_to_the_borders() -> None:
    """|tanh(x)| > 0.99 asks for |x| > 2.65: 0.8 % of the steps of a unit Gaussian, however long the episode."""
    steering = np.concatenate([_actions(BrownianPolicy(_carracing()), seed, 500)[:, 0] for seed in range(20)])
    assert np.mean(np.abs(steering) > 0.99) < 0.03


def test_the_noise_on_a_controllers_outputs_differs_from_episode_to_episode() -> None:
    """100 episodes of 500 steps of a C that says 3: bursts of a constant, noise of the episode's own size."""
    action_noise = ActionNoise(2, largest=0.5)
    scales, shares = [], []
    for episode in range(100):
        action_noise.reset(np.random.default_rng(episode))
        outputs = np.array([action_noise(np.full(2, 3, np.float32)) for _ in range(500)])
        burst = np.concatenate([[False], (np.diff(outputs, axis=0) == 0).all(axis=1)])
        shares.append(burst.mean())
        scales.append(outputs[~burst].std() if (~burst).any() else 0)
    assert min(shares) < 0.05
    assert max(shares) > 0.15
    assert min(scales) < 0.2
    assert np.mean(shares) == pytest.approx(0.13, abs=0.05)  # a rate of 0.01 on average, 17 steps each
    action_noise.reset(np.random.default_rng(7))
    again = [action_noise(np.full(2, 3, np.float32)) for _ in range(50)]
    action_noise.reset(np.random.default_rng(7))
    np.testing.assert_array_equal(again, [action_noise(np.full(2, 3, np.float32)) for _ in range(50)])


@pytest.mark.parametrize("name", POLICIES)
def test_discrete_actions_are_one_hot_and_all_are_met(name: str) -> None:
    actions = _actions(POLICIES[name](OneHotActionMap(3)), 0, 3000)
    assert actions.dtype == np.float32
    np.testing.assert_array_equal(np.sort(actions, axis=1), np.tile([0, 0, 1], (3000, 1)))
    np.testing.assert_allclose(actions.mean(axis=0), 1 / 3, atol=0.1)
