"""What counts of a dream, against the same sums in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vmc.control.return_accumulator import STRETCH, ReturnAccumulator


def _earned(rewards: np.ndarray, reward_soft_cap: float | None) -> ReturnAccumulator:
    """Rewards (T, N) of N dreams, step by step."""
    returns = ReturnAccumulator(rewards.shape[1], torch.device("cpu"))
    rows = torch.arange(rewards.shape[1])
    for t, step in enumerate(rewards, start=1):
        returns.add(torch.from_numpy(step), rows)
        if t % STRETCH == 0:
            returns.close_stretch(reward_soft_cap)
    returns.close_stretch(reward_soft_cap)
    return returns


@given(st.integers(1, 3 * STRETCH), st.floats(0.01, 3), st.integers(0, 2**32 - 1))
def test_a_stretch_counts_up_to_the_cap_and_a_tenth_of_the_rest(steps: int, cap: float, seed: int) -> None:
    rewards = np.random.default_rng(seed).normal(1, 2, (steps, 3)).astype(np.float32)
    stretches = [part.sum(axis=0) for part in np.split(rewards.astype(np.float64), range(STRETCH, steps, STRETCH))]
    limit = cap * STRETCH
    expected = sum(np.where(each <= limit, each, limit + 0.1 * (each - limit)) for each in stretches)
    returns = _earned(rewards, cap)
    np.testing.assert_allclose(returns.counted.numpy(), expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(returns.returns.numpy(), rewards.sum(axis=0), rtol=1e-4, atol=1e-3)


def test_without_a_cap_all_counts() -> None:
    returns = _earned(np.full((30, 2), 7.0, np.float32), None)
    assert returns.counted.tolist() == returns.returns.tolist() == [210.0, 210.0]


def test_haste_elsewhere_does_not_make_good_for_a_lost_stretch() -> None:
    steady, hasty = np.full((2 * STRETCH, 1), 1.0, np.float32), np.full((2 * STRETCH, 1), 2.2, np.float32)
    hasty[:STRETCH] = 0.0
    steady_earned, hasty_earned = _earned(steady, 1.0), _earned(hasty, 1.0)
    assert hasty_earned.returns > steady_earned.returns
    assert hasty_earned.counted.item() == pytest.approx(STRETCH * 1.12, rel=1e-5)
    assert hasty_earned.counted < steady_earned.counted


def test_a_new_start_forgets_the_open_stretch() -> None:
    returns = ReturnAccumulator(1, torch.device("cpu"))
    returns.add(torch.ones(1), torch.zeros(1, dtype=torch.int64))
    returns.restart()
    returns.close_stretch(0.5)
    assert returns.returns.item() == returns.counted.item() == 0.0
