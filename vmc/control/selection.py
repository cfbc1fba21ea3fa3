"""The choice among a search's best parameters: successive halving on fresh episodes.

Where a lost drive costs some hundred points, a validation on 16 episodes has a standard error of 25, and the best of
many such validations is the luckiest. Successive halving (Karnin, Koren and Somekh 2013) spends
most episodes on the few that may be best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vmc.control.fitness import Fitness
from vmc.control.trainer import Array


class Selection(NamedTuple):
    """The result of successive halving.

    Attributes:
        winner: its position.
        returns: each candidate's mean return over the episodes that it has met.
        episodes: how many it has met.
        num_steps: environment steps of all.
    """

    winner: int
    returns: list[float]
    episodes: list[int]
    num_steps: int


def successive_halving(
    candidates: Array, fitness: Fitness, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
) -> Selection:
    """All candidates meet the first episodes; the better half of them meets as many again, and so on.

    In each round a candidate's episodes double; in the last one, two candidates meet the rest of the seeds. All
    episodes that a candidate has met count, and those that compete have met the same.

    Args:
        candidates: (K, N).
        seeds: of the episodes.
    """
    alive = list(range(len(candidates)))
    scores: list[list[float]] = [[] for _ in candidates]
    steps, met = 0, 0
    for until in _schedule(len(candidates), len(seeds)):
        if until > met:
            found = fitness.evaluate(candidates[alive], seeds[met:until], on_episodes)
            steps, met = steps + int(found.lengths.sum()), until
            for candidate, row in zip(alive, found.returns, strict=True):
                scores[candidate] += row.tolist()
        ranked = sorted(alive, key=lambda candidate: -float(np.mean(scores[candidate])))
        alive = sorted(ranked[: max((len(alive) + 1) // 2, 1)])
    return Selection(alive[0], [float(np.mean(row)) for row in scores], [len(row) for row in scores], steps)


def num_episodes(candidates: int, seeds: int) -> int:
    """The episodes of `successive_halving`."""
    total, met = 0, 0
    for until in _schedule(candidates, seeds):
        total, met, candidates = total + candidates * (until - met), until, (candidates + 1) // 2
    return total


def _schedule(candidates: int, seeds: int) -> list[int]:
    """How many seeds have been met after each round."""
    rounds = 0
    while candidates > 1:
        candidates, rounds = (candidates + 1) // 2, rounds + 1
    return [max(seeds >> (rounds - 1 - number), 1) for number in range(rounds)]
