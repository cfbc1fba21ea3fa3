"""The CMA-ES trainer: which episodes its candidates meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from vmc.control.evolution import Evolution, EvolutionSettings
from vmc.control.fitness import Array, Scores
from vmc.errors import VmcError

POPULATION = 6


class _Hard:
    """A `Fitness` whose return is high, but for one episode of each call; it remembers who met what."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[int]]] = []
        self.hard: list[int] = []

    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        self.calls.append((len(candidates), list(seeds)))
        if not self.hard:
            self.hard.append(seeds[-1])
        returns = np.array([[-50.0 if seed in self.hard else 9.0 + x.sum() for seed in seeds] for x in candidates])
        if on_episodes is not None:
            on_episodes(returns.size)
        return Scores(returns, np.full(returns.shape, 10), returns)


def _evolution(fitness: _Hard, rollouts: int = 3, **given: int) -> Evolution:
    options = {"replayed_episodes": 0, "screened_episodes": 0, "halvings": 0, **given}
    settings = EvolutionSettings(
        POPULATION,
        rollouts,
        step_size=0.1,
        covariance="full",
        mean_learning_rate=1.0,
        weight_decay=0.0,
        seed=0,
        **options,
    )
    return Evolution(settings, fitness, num_parameters=4, mean=None, phase=0)


def _met(fitness: _Hard) -> list[list[int]]:
    return [seeds for number, seeds in fitness.calls if number == POPULATION]


def test_all_candidates_meet_the_same_new_episodes() -> None:
    fitness = _Hard()
    evolution = _evolution(fitness)
    assert [evolution.train(number, lambda _: None).num_steps for number in (1, 2)] == [180, 180]
    first, second = _met(fitness)
    assert len({*first, *second}) == 6


def test_a_hard_episode_is_met_again() -> None:
    """It is drawn with a probability of two thirds or so each time; never in 12 generations: once in 500,000."""
    fitness = _Hard()
    evolution = _evolution(fitness, replayed_episodes=1)
    for number in range(1, 14):
        evolution.train(number, lambda _: None)
    first, *later = _met(fitness)
    assert all(len(set(seeds)) == 3 for seeds in later)
    seen = set(first)
    for seeds in later:
        assert not seen & set(seeds[:2])
        assert seeds[2] in seen
        seen |= set(seeds)
    assert sum(seeds[2] == fitness.hard[0] for seeds in later) >= 1


def test_the_mean_looks_for_hard_episodes_before_each_generation() -> None:
    fitness, ended = _Hard(), []
    evolution = _evolution(fitness, replayed_episodes=1, screened_episodes=5)
    generation = evolution.train(1, ended.append)
    (one, screened), (population, met) = fitness.calls
    assert (one, population, len(screened)) == (1, POPULATION, 5)
    assert not set(screened) & set(met[:2])
    assert met[2] in screened
    assert generation.metrics["screened"] == pytest.approx((4 * 9 - 50) / 5)
    assert generation.num_steps == 10 * (5 + 18)
    assert sum(ended) == evolution.episodes_per_generation == 5 + 18


def test_a_restored_search_meets_the_same_episodes() -> None:
    def trained(generations: range, evolution: Evolution) -> Evolution:
        for number in generations:
            evolution.train(number, lambda _: None)
        return evolution

    options = {"replayed_episodes": 2, "screened_episodes": 2}
    whole, again = _Hard(), _Hard()
    trained(range(1, 7), _evolution(whole, **options))
    stopped = trained(range(1, 4), _evolution(again, **options))
    resumed = _evolution(again, **options)
    resumed.restore(*stopped.state())
    trained(range(4, 7), resumed)
    assert whole.calls == again.calls


def test_at_least_one_episode_is_new() -> None:
    with pytest.raises(VmcError, match="3 of 3 episodes of a candidate shall be replayed"):
        _evolution(_Hard(), replayed_episodes=3)


def test_the_better_half_goes_on_and_a_hard_episode_is_noted_by_them() -> None:
    fitness, ended = _Hard(), []
    evolution = _evolution(fitness, halvings=1, replayed_episodes=1)
    generation = evolution.train(1, ended.append)
    assert [(number, len(seeds)) for number, seeds in fitness.calls] == [(6, 1), (3, 2)]
    assert sum(ended) == evolution.episodes_per_generation == 12
    assert generation.num_steps == 120
    assert generation.metrics["mean_length"] == 10


def test_one_episode_is_left_after_the_last_halving() -> None:
    with pytest.raises(VmcError, match="halved 3 times in 3 episodes"):
        _evolution(_Hard(), halvings=3)
