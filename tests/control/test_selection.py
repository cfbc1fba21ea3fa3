"""Successive halving finds the best candidate with fewer episodes than a full comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from vmc.control.fitness import Array, Scores
from vmc.control.selection import num_episodes, successive_halving


class _Noisy:
    """Candidate i has the mean return `means[i]`; an episode adds noise of a standard deviation of 10 to it."""

    def __init__(self, means: Sequence[float]) -> None:
        self._means = means
        self.calls: list[tuple[list[int], list[int]]] = []

    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        numbers = candidates[:, 0].astype(int).tolist()
        self.calls.append((numbers, list(seeds)))
        noise = [[np.random.default_rng([number, seed]).normal(0, 10) for seed in seeds] for number in numbers]
        returns = np.array([[self._means[number]] for number in numbers]) + np.array(noise)
        if on_episodes is not None:
            on_episodes(returns.size)
        return Scores(returns, np.full(returns.shape, 3), returns)


def _candidates(count: int) -> Array:
    return np.arange(count, dtype=np.float64)[:, None]


def test_the_best_of_five_is_found() -> None:
    """Its lead of 5 is four standard errors of a difference over 128 episodes."""
    fitness, told = _Noisy([0, 1, 5, 2, 0]), []
    found = successive_halving(_candidates(5), fitness, range(256), told.append)
    assert found.winner == 2
    assert found.episodes[2] == 256
    assert sorted(found.episodes) == [64, 64, 128, 256, 256]
    assert sum(told) == sum(found.episodes) == num_episodes(5, 256)
    assert found.num_steps == 3 * sum(found.episodes)


def test_those_that_compete_have_met_the_same_episodes_and_no_episode_is_run_twice() -> None:
    fitness = _Noisy([0.0] * 8)
    found = successive_halving(_candidates(8), fitness, range(100, 164))
    met: dict[int, list[int]] = {}
    for numbers, seeds in fitness.calls:
        for number in numbers:
            met.setdefault(number, []).extend(seeds)
        assert len({tuple(met[number]) for number in numbers}) == 1
    assert all(seeds == list(range(100, 100 + len(seeds))) for seeds in met.values())
    assert [len(met[number]) for number in range(8)] == found.episodes
    assert max(found.episodes) == 64


@pytest.mark.parametrize(("count", "seeds"), [(2, 1), (3, 2), (5, 3), (6, 256), (9, 7)])
def test_few_episodes_or_odd_numbers_still_leave_one(count: int, seeds: int) -> None:
    found = successive_halving(_candidates(count), _Noisy(range(count)), range(seeds))
    assert 0 <= found.winner < count
    assert found.returns[found.winner] == max(
        value for value, number in zip(found.returns, found.episodes, strict=True) if number == max(found.episodes)
    )
    assert sum(found.episodes) == num_episodes(count, seeds)
