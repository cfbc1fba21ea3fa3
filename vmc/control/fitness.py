"""Fitness of candidates: the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """The returns and lengths of episodes, each field (P, R): candidate by episode.

    Attributes:
        returns, lengths: of the episodes.
        shaped_returns: whose mean over a row is a candidate's fitness; the returns, where nothing shapes them.
    """

    returns: Array
    lengths: npt.NDArray[np.int64]
    shaped_returns: Array


class Fitness(Protocol):
    """Scores candidates on episodes. A score depends on the candidate and the episode's seed alone."""

    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        """Candidates (P, N) on R episodes, the same for all of them; tells how many have ended meanwhile."""
        ...
