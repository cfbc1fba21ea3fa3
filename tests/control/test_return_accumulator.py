"""Returns of dreams, true and shaped, against the same sums in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmc.control.return_accumulator import ReturnAccumulator, SoftCap

WINDOW = SoftCap(1.0).window
CAPS = st.builds(SoftCap, st.floats(0.01, 3), st.integers(1, 30), st.floats(0, 1))


def _accumulated(rewards: np.ndarray, soft_cap: SoftCap | None) -> ReturnAccumulator:
    """Rewards (T, N) of N dreams, step by step."""
    returns = ReturnAccumulator(rewards.shape[1], torch.device("cpu"), soft_cap)
    _accumulate(returns, rewards)
    return returns


def _accumulate(returns: ReturnAccumulator, rewards: np.ndarray) -> None:
    rows = torch.arange(rewards.shape[1])
    for step in rewards:
        returns.add(torch.from_numpy(step), rows)
        returns.end_step()
    returns.finish()


@given(st.integers(1, 60), CAPS, st.integers(0, 2**32 - 1))
def test_reward_beyond_the_cap_of_a_window_is_worth_the_slope(steps: int, cap: SoftCap, seed: int) -> None:
    rewards = np.random.default_rng(seed).normal(1, 2, (steps, 3)).astype(np.float32)
    windows = np.split(rewards.astype(np.float64), range(cap.window, steps, cap.window))
    limit = cap.reward * cap.window
    sums = [window.sum(axis=0) for window in windows]
    expected = sum(np.where(each <= limit, each, limit + cap.slope * (each - limit)) for each in sums)
    returns = _accumulated(rewards, cap)
    np.testing.assert_allclose(returns.shaped_returns.numpy(), expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(returns.returns.numpy(), rewards.sum(axis=0), rtol=1e-4, atol=1e-3)


def test_without_a_cap_the_shaped_return_is_the_return() -> None:
    returns = _accumulated(np.full((30, 2), 7.0, np.float32), None)
    assert returns.shaped_returns.tolist() == returns.returns.tolist() == [210.0, 210.0]


def test_the_defaults_are_those_of_the_documents() -> None:
    assert SoftCap(0.3) == SoftCap(reward=0.3, window=20, slope=0.1)


def test_speed_elsewhere_does_not_make_up_for_a_lost_window() -> None:
    steady, fast = np.full((2 * WINDOW, 1), 1.0, np.float32), np.full((2 * WINDOW, 1), 2.2, np.float32)
    fast[:WINDOW] = 0.0
    steady_sums, fast_sums = (_accumulated(rewards, SoftCap(1.0)) for rewards in (steady, fast))
    assert fast_sums.returns > steady_sums.returns
    assert fast_sums.shaped_returns.item() == pytest.approx(WINDOW * 1.12, rel=1e-5)
    assert fast_sums.shaped_returns < steady_sums.shaped_returns


def test_rewards_go_to_the_rows_that_they_are_given_for() -> None:
    """Dreams that have ended are taken out of the batch, so the rows of a step are not all rows."""
    returns = ReturnAccumulator(4, torch.device("cpu"), None)
    returns.add(torch.tensor([1.0, 2.0]), torch.tensor([3, 1]))
    returns.end_step()
    returns.finish()
    assert returns.returns.tolist() == [0.0, 2.0, 0.0, 1.0]


def test_a_restart_forgets_the_sums_the_open_window_and_its_steps() -> None:
    rewards = np.random.default_rng(0).normal(1, 2, (3 * WINDOW, 2)).astype(np.float32)
    returns = ReturnAccumulator(2, torch.device("cpu"), SoftCap(0.5))
    rows = torch.arange(2)
    for _ in range(WINDOW + 3):
        returns.add(torch.ones(2), rows)
        returns.end_step()
    returns.restart(SoftCap(0.5))
    assert returns.returns.tolist() == returns.shaped_returns.tolist() == [0.0, 0.0]
    _accumulate(returns, rewards)
    expected = _accumulated(rewards, SoftCap(0.5))
    assert torch.equal(returns.returns, expected.returns)
    assert torch.equal(returns.shaped_returns, expected.shaped_returns)


def test_a_restart_may_change_the_cap() -> None:
    returns = ReturnAccumulator(1, torch.device("cpu"), None)
    rewards = np.full((2 * WINDOW, 1), 2.0, np.float32)
    for soft_cap in (SoftCap(0.5), None, SoftCap(1.0, 5, 0.0)):
        returns.restart(soft_cap)
        _accumulate(returns, rewards)
        assert returns.shaped_returns.item() == _accumulated(rewards, soft_cap).shaped_returns.item()
