"""The CMA-ES trainer: fitness of a population of candidates, by ask and tell (paper, appendix A.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vmc.control.cma_es import Search, SearchSettings
from vmc.control.fitness import Fitness
from vmc.control.trainer import Array, Arrays, Generation
from vmc.seeding import env_seed


@dataclass(frozen=True)
class EvolutionSettings:
    """A way to score candidates.

    Attributes:
        population_size: candidates of a generation.
        rollouts_per_candidate: episodes whose mean (shaped) return is the fitness.
        step_size: CMA-ES's first standard deviation.
        weight_decay: the fitness loses this times the mean square of the parameters (hardmaru's `es.py`).
        seed: of the candidates and of the episodes.
    """

    population_size: int
    rollouts_per_candidate: int
    step_size: float
    weight_decay: float
    seed: int


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
        self._settings, self._fitness = settings, fitness
        search = SearchSettings(settings.population_size, settings.step_size)
        self._search = Search(search, num_parameters, settings.seed, mean, phase)

    @property
    def parameters(self) -> Array:
        """The mean of the search distribution."""
        return self._search.mean

    @property
    def episodes_per_generation(self) -> int:
        return self._settings.population_size * self._settings.rollouts_per_candidate

    def train(self, generation: int, on_episodes: Callable[[int], None]) -> Generation:
        candidates = self._search.ask()
        episodes = range(self._settings.rollouts_per_candidate)
        seeds = [env_seed(self._settings.seed, "fitness", generation, episode) for episode in episodes]
        scores = self._fitness.evaluate(candidates, seeds, on_episodes)
        decay = self._settings.weight_decay * np.square(candidates).mean(axis=1)
        self._search.tell(candidates, scores.shaped_returns.mean(axis=1) - decay)
        returns = scores.returns.mean(axis=1)
        metrics = {"best": float(returns.max()), "mean": float(returns.mean()), "worst": float(returns.min())}
        metrics |= {"step_size": self._search.step_size, "mean_length": float(scores.lengths.mean())}
        return Generation(metrics, int(scores.lengths.sum()))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return self._search.state()

    def restore(self, arrays: Arrays, values: Mapping[str, Any]) -> None:
        self._search.restore(dict(arrays), dict(values))
