"""The CMA-ES trainer: fitness of a population of candidates, by ask and tell (paper, appendix A.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmc.config import pick
from vmc.control.cma_es import Search, SearchSettings
from vmc.control.fitness import Fitness, Scores
from vmc.control.level_replay import LevelReplay
from vmc.control.racing import race, race_episodes, race_fitness
from vmc.control.trainer import Array, Arrays, Generation
from vmc.errors import VmcError
from vmc.seeding import env_seed, stream

# In a checkpoint's state.
_LEVELS = "replay.levels"


@dataclass(frozen=True)
class EvolutionSettings:
    """A way to score candidates.

    Attributes:
        population_size: candidates of a generation.
        rollouts_per_candidate: episodes whose mean (shaped) return is the fitness.
        replayed_episodes: so many of these are hard ones that were met before.
        screened_episodes: so many new ones are met by the mean before each generation, to find hard ones.
        halvings: after each of the first so many episodes, the better half of the candidates goes on.
        step_size, covariance, mean_learning_rate: of CMA-ES, see `SearchSettings`.
        weight_decay: the fitness loses this times the mean square of the parameters (hardmaru's `es.py`).
        seed: of the candidates and of the episodes.
    """

    population_size: int
    rollouts_per_candidate: int
    replayed_episodes: int
    screened_episodes: int
    halvings: int
    step_size: float
    covariance: str
    mean_learning_rate: float
    weight_decay: float
    seed: int

    def __post_init__(self) -> None:
        if self.replayed_episodes >= self.rollouts_per_candidate:
            raise VmcError(
                f"{self.replayed_episodes} of {self.rollouts_per_candidate} episodes of a candidate shall be replayed; "
                "at least one must be new.",
                "Give a smaller --replayed-episodes, or a larger --rollouts-per-candidate.",
            )
        if self.halvings >= self.rollouts_per_candidate:
            raise VmcError(
                f"The candidates shall be halved {self.halvings} times in {self.rollouts_per_candidate} episodes.",
                "Give smaller --halvings, or a larger --rollouts-per-candidate.",
            )


class Evolution:
    """A `Trainer`. All candidates of a generation meet the same episodes.

    Args:
        fitness: of the candidates.
        num_parameters: N.
        mean: where the search starts, (N,); zeros by default, as in the paper.
        phase: names the random stream, with the seed.
    """

    def __init__(
        self, settings: EvolutionSettings, fitness: Fitness, num_parameters: int, mean: Array | None, phase: int
    ) -> None:
        self._settings, self._fitness, self._replay = settings, fitness, LevelReplay()
        search = SearchSettings(**pick(SearchSettings, settings))
        self._search = Search(search, num_parameters, settings.seed, mean, phase)

    @property
    def parameters(self) -> Array:
        """The mean of the search distribution."""
        return self._search.mean

    @property
    def episodes_per_generation(self) -> int:
        settings = self._settings
        episodes = race_episodes(settings.population_size, settings.rollouts_per_candidate, settings.halvings)
        return episodes + settings.screened_episodes

    def train(self, generation: int, on_episodes: Callable[[int], None]) -> Generation:
        screened = self._screen(generation, on_episodes) if self._settings.screened_episodes else None
        candidates, seeds = self._search.ask(), self._seeds(generation)
        decay = self._settings.weight_decay * np.square(candidates).mean(axis=1)
        scores = race(self._fitness, candidates, seeds, self._settings.halvings, decay, on_episodes)
        self._search.tell(candidates, race_fitness(scores, decay))
        at_end = ~np.isnan(scores.returns).any(axis=1)
        self._replay.note(seeds, scores.shaped_returns[at_end].mean(axis=0), generation)
        returns = np.nanmean(scores.returns, axis=1)
        metrics = {"best": float(returns[at_end].max()), "mean": float(returns.mean()), "worst": float(returns.min())}
        length = scores.lengths.sum() / (~np.isnan(scores.returns)).sum()
        metrics |= {"step_size": self._search.step_size, "mean_length": float(length)}
        if screened is not None:
            metrics["screened"] = float(screened.returns.mean())
        return Generation(metrics, sum(int(each.lengths.sum()) for each in (scores, screened) if each is not None))

    def _screen(self, generation: int, on_episodes: Callable[[int], None]) -> Scores:
        """Lets the mean meet new episodes: a few candidates alone would rarely find the hard ones."""
        seeds = self._new_seeds(generation, self._settings.screened_episodes, self._settings.rollouts_per_candidate)
        scores = self._fitness.evaluate(self.parameters[None], seeds, on_episodes)
        self._replay.note(seeds, scores.shaped_returns[0], generation)
        return scores

    def _seeds(self, generation: int) -> list[int]:
        """Of the episodes that all candidates meet: new ones, and hard ones that were met before."""
        settings = self._settings
        again = self._replay.draw(settings.replayed_episodes, stream(settings.seed, "replay", generation))
        return self._new_seeds(generation, settings.rollouts_per_candidate - len(again)) + again

    def _new_seeds(self, generation: int, count: int, first: int = 0) -> list[int]:
        episodes = range(first, first + count)
        return [env_seed(self._settings.seed, "fitness", generation, episode) for episode in episodes]

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        arrays, values = self._search.state()
        return {**arrays, _LEVELS: self._replay.array()}, values

    def restore(self, arrays: Arrays, values: Mapping[str, Any]) -> None:
        arrays = dict(arrays)
        self._replay.restore(arrays.pop(_LEVELS))
        self._search.restore(arrays, dict(values))
