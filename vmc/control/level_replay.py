"""Prioritized level replay (Jiang et al. 2021): hard episodes of the last generations are met again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

# An episode that was hard for the candidates of long ago need not be so today.
_GENERATIONS = 15


class LevelReplay:
    """Remembers episodes by their seeds (the levels), with the mean return of those that met them last.

    A few lost episodes decide between good controllers, and a search rarely meets hard ones. Here the hardest one is
    twice as likely as the second, three times as likely as the third, and so on.
    """

    def __init__(self) -> None:
        self._levels: dict[int, tuple[float, int]] = {}

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        """Up to so many different seeds; fewer where fewer are remembered."""
        ranked = sorted(self._levels, key=lambda seed: (self._levels[seed][0], seed))
        if not ranked:
            return []
        weights = 1 / np.arange(1, len(ranked) + 1)
        chosen = rng.choice(len(ranked), min(count, len(ranked)), replace=False, p=weights / weights.sum())
        return [ranked[position] for position in chosen]

    def note(self, seeds: Iterable[int], returns: Sequence[float], generation: int) -> None:
        """Remembers these mean returns, and forgets what no generation has met for long."""
        self._levels |= {seed: (float(value), generation) for seed, value in zip(seeds, returns, strict=True)}
        last = generation - _GENERATIONS
        self._levels = {seed: level for seed, level in self._levels.items() if level[1] > last}

    def array(self) -> npt.NDArray[np.float64]:
        """What a checkpoint keeps of it, (L, 3): seeds, returns, generations."""
        return np.array([(seed, *level) for seed, level in self._levels.items()], np.float64).reshape(-1, 3)

    def restore(self, array: npt.NDArray[np.float64]) -> None:
        """Puts back what `array` gave."""
        self._levels = {int(seed): (float(value), int(generation)) for seed, value, generation in array}
