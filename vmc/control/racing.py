"""Successive halving of a generation's candidates: poor ones are known after an episode, good ones need more.

A race in evolutionary policy search (Heidrich-Meisner & Igel, 2009), with the budget of successive halving (Jamieson &
Talwalkar, 2016). 64 candidates that are halved twice meet 64, 32, 16 and 16 episodes: as many as two each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vmc.control.fitness import Array, Fitness, Scores


def race(
    fitness: Fitness,
    candidates: Array,
    seeds: Sequence[int],
    halvings: int,
    penalty: Array,
    on_episodes: Callable[[int], None] | None = None,
) -> Scores:
    """Lets candidates (P, N) meet R episodes; after each of the first `halvings` the better half goes on.

    Args:
        penalty: what a candidate's fitness loses, (P,).

    Returns:
        Returns are NaN and lengths 0 where a candidate did not get to.
    """
    shape = len(candidates), len(seeds)
    met = Scores(np.full(shape, np.nan), np.zeros(shape, np.int64), np.full(shape, np.nan))
    alive = np.arange(len(candidates))
    first = 0
    for last in [*range(1, halvings + 1), len(seeds)]:
        found = fitness.evaluate(candidates[alive], seeds[first:last], on_episodes)
        for name in ("returns", "lengths", "shaped_returns"):
            getattr(met, name)[alive, first:last] = getattr(found, name)
        if last <= halvings:
            worth = met.shaped_returns[alive, :last].mean(axis=1) - penalty[alive]
            alive = np.sort(alive[np.argsort(-worth, kind="stable")[: _half(len(alive))]])
        first = last
    return met


def race_fitness(met: Scores, penalty: Array) -> Array:
    """The candidates' fitness (P,): their mean shaped return, or their rank where some got farther than others."""
    reached = (~np.isnan(met.shaped_returns)).sum(axis=1)
    means = np.nanmean(met.shaped_returns, axis=1) - penalty
    if (reached == reached[0]).all():
        return means  # type: ignore[no-any-return]
    ranks = np.empty(len(means))
    ranks[np.lexsort((means, reached))] = np.arange(len(means))
    return ranks


def race_episodes(candidates: int, episodes: int, halvings: int) -> int:
    """The number of episodes of a race."""
    total = 0
    for _ in range(halvings):
        total, candidates = total + candidates, _half(candidates)
    return total + candidates * (episodes - halvings)


def _half(candidates: int) -> int:
    return -(-candidates // 2)
