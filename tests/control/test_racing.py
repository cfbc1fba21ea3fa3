"""Successive halving against what it should do by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmc.control.fitness import Array, Scores
from vmc.control.racing import race, race_episodes, race_fitness


class _Table:
    """A `Fitness`: candidate `[i]` has the return `table[i, seed]`."""

    def __init__(self, table: Array) -> None:
        self._table, self.episodes = table, 0

    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        returns = self._table[np.ix_(candidates[:, 0].astype(int), seeds)]
        self.episodes += returns.size
        return Scores(returns, np.full(returns.shape, 7), returns + 1)


def _race(table: Array, halvings: int, penalty: Array) -> tuple[Scores, _Table]:
    fitness, numbers = _Table(table), np.arange(len(table), dtype=float)[:, None]
    return race(fitness, numbers, range(table.shape[1]), halvings, penalty), fitness


@given(candidates=st.integers(1, 20), episodes=st.integers(1, 6), halvings=st.integers(0, 5), seed=st.integers(0, 1000))
def test_a_race_is_what_it_is_by_hand(candidates: int, episodes: int, halvings: int, seed: int) -> None:
    halvings = min(halvings, episodes - 1)
    rng = np.random.default_rng(seed)
    table, penalty = rng.normal(size=(candidates, episodes)), rng.random(candidates)
    met, fitness = _race(table, halvings, penalty)
    alive, expected = list(range(candidates)), np.zeros((candidates, episodes), bool)
    for episode in range(episodes):
        expected[alive, episode] = True
        if episode < halvings:
            alive.sort(key=lambda number: penalty[number] - table[number, : episode + 1].mean())
            alive = alive[: (len(alive) + 1) // 2]
    np.testing.assert_array_equal(~np.isnan(met.returns), expected)
    np.testing.assert_array_equal(met.returns[expected], table[expected])
    np.testing.assert_array_equal(met.shaped_returns[expected], table[expected] + 1)
    np.testing.assert_array_equal(met.lengths, 7 * expected)
    assert fitness.episodes == expected.sum() == race_episodes(candidates, episodes, halvings)


def test_without_halvings_the_fitness_is_the_mean_less_the_penalty() -> None:
    table, penalty = np.array([[1.0, 3.0], [5.0, 5.0]]), np.array([0.5, 1.0])
    met, _ = _race(table, 0, penalty)
    assert race_fitness(met, penalty) == pytest.approx([2.5, 5.0])


def test_who_gets_farther_ranks_above_and_among_equals_the_mean_decides() -> None:
    """The first one leads after one episode, and is last of those that go on."""
    table = np.array([[9.0, -9.0, 0.0], [8.0, 2.0, 2.0], [1.0, 90.0, 90.0], [2.0, 90.0, 90.0]])
    met, _ = _race(table, 1, np.zeros(4))
    assert race_fitness(met, np.zeros(4)).tolist() == [2, 3, 0, 1]


def test_64_candidates_halved_twice_meet_as_many_episodes_as_with_two_each() -> None:
    assert race_episodes(64, 4, 2) == race_episodes(64, 2, 0) == 128
