"""Stage `train-controller`: C by CMA-ES, its fitness from the real environment or from the dream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vmc.config import pick
from vmc.control.cma_es import Search, SearchSettings
from vmc.control.fitness import Array, Fitness, Scores
from vmc.control.real_fitness import EpisodeWorker, RealFitness
from vmc.control.return_accumulator import SoftCap
from vmc.dream.settings import DreamSettings
from vmc.envs import get_task
from vmc.episode import Limits
from vmc.executors import make_executor
from vmc.models.agent import load_body
from vmc.models.checkpoints import (
    TRAIN_CONTROLLER,
    TRAIN_MDRNN,
    TRAIN_VAE,
    controller_folder,
    dynamics_folder,
    model_info,
    refuse_exported,
    require_finished,
    vae_folder,
)
from vmc.models.controller import ControllerSettings
from vmc.progress import Progress
from vmc.seeding import env_seed
from vmc.stages.dreaming import DreamSource, dream_fitness, fingerprint_of_starts
from vmc.stages.settings import TrainControllerSettings
from vmc.stages.training import check_config
from vmc.storage.checkpoint import Checkpoint, has_checkpoint, load_checkpoint, save_checkpoint
from vmc.storage.files import locked, write_json
from vmc.storage.metrics import MetricsLog

# What may change when a search is resumed: it only makes the search longer or shorter.
_EXTENT = {"generations", "target_return"}


@dataclass
class SearchState:
    """Where the search stands. `steps` counts environment steps by where they were taken."""

    inputs: dict[str, Any]
    phase: int = 0
    phase_start: int = 0
    generation: int = 0
    best_generation: int = 0
    best_return: float | None = None
    steps: dict[str, int] = field(default_factory=lambda: {"real": 0, "dream": 0})
    seconds: float = 0.0
    finished: bool = False


def train_controller(
    settings: TrainControllerSettings,
    data: Path,
    run: Path,
    device_name: str,
    num_workers: int,
    tensorboard: bool = False,
) -> SearchState:
    """Searches for C, or goes on where the search was stopped, to the bit.

    When V or M have changed since (a new round), when the fitness moves between dream and reality, or when the best C
    so far is to be gone on from after a search from nothing, a new phase begins.

    Raises:
        VmcError: V or M missing, unfinished or strangers to each other; settings that changed.
    """
    for folder, command in ((vae_folder(run), TRAIN_VAE), (dynamics_folder(run), TRAIN_MDRNN)):
        require_finished(folder, command)
    inputs_of_c = settings.inputs or get_task(settings.env).controller_inputs
    body, shape = load_body(run, settings.env, inputs_of_c, settings.hidden_units)
    inputs: dict[str, Any] = {**body.source, "fitness": "dream" if settings.dream else "real", "init": settings.init}
    if settings.dream:
        inputs["data"] = fingerprint_of_starts(data, run)
    folder = controller_folder(run)
    with locked(folder), _fitness(settings, shape, data, run, device_name, num_workers) as fitness:
        evolution = _Evolution(settings, folder, shape, inputs, fitness, tensorboard)
        return evolution.run()


class _Fitness(NamedTuple):
    """Who scores what.

    Attributes:
        training: the candidates.
        validation: the distribution's mean, on validation episodes, without `no_reward_limit`.
    """

    training: Fitness
    validation: Fitness


@contextmanager
def _fitness(
    settings: TrainControllerSettings,
    shape: ControllerSettings,
    data: Path,
    run: Path,
    device_name: str,
    num_workers: int,
) -> Iterator[_Fitness]:
    with ExitStack() as stack:
        limits = Limits(settings.max_steps)
        # Workers start with the first job, so these cost nothing where nobody drives.
        make_worker = partial(EpisodeWorker, run, settings.env, shape)
        executor = stack.enter_context(closing(make_executor(make_worker, num_workers)))
        real = RealFitness(executor, limits)
        if settings.dream:
            dream = DreamSettings(**pick(DreamSettings, settings))
            source = DreamSource(settings.env, data, run, shape, settings.seed)
            shaped_by = _soft_cap(settings), settings.action_noise
            opened = dream_fitness(source, dream, device_name, num_workers, *shaped_by)
            training, validation = stack.enter_context(opened)
            yield _Fitness(training, real if settings.validate_in == "real" else validation)
        else:
            yield _Fitness(RealFitness(executor, replace(limits, no_reward_limit=settings.no_reward_limit)), real)


def _soft_cap(settings: TrainControllerSettings) -> SoftCap | None:
    if settings.reward_soft_cap is None:
        return None
    return SoftCap(settings.reward_soft_cap, settings.reward_cap_window, settings.reward_cap_slope)


class _Evolution:
    """The loop of generations, with its checkpoint after each."""

    def __init__(
        self,
        settings: TrainControllerSettings,
        folder: Path,
        shape: ControllerSettings,
        inputs: dict[str, Any],
        fitness: _Fitness,
        tensorboard: bool,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._shape = shape
        self._fitness = fitness
        self._counters, self._search = _resume(settings, folder, shape, inputs)
        write_json(folder / "config.json", asdict(settings))
        self._log = MetricsLog(folder, self._counters.generation, tensorboard)

    def run(self) -> SearchState:
        counters = self._counters
        if counters.best_return is None:
            # A later phase looks at the best C of the one before, which is kept already.
            first = _best_parameters(self._folder) if counters.phase else self._search.mean
            self._evaluate(first, counters.generation, 0)
            self._save()
        settings = self._settings
        per_generation = settings.population_size * settings.rollouts_per_candidate
        done = (counters.generation - counters.phase_start) * per_generation
        title = "C in the dream" if settings.dream else "C"
        with Progress(title, settings.generations * per_generation, "episodes", done) as progress:
            while not self._finished():
                figures = self._generation(progress.advance)
                progress.advance(0, **figures)
        if not counters.finished:
            counters.finished = True
            self._save()
        return counters

    def _finished(self) -> bool:
        counters, target = self._counters, self._settings.target_return
        reached = target is not None and counters.best_return is not None and counters.best_return >= target
        return reached or counters.generation - counters.phase_start >= self._settings.generations

    def _generation(self, on_episodes: Callable[[int], None]) -> dict[str, float]:
        """One generation and its checkpoint; a kill before that loses nothing but this generation's work."""
        started = time.monotonic()
        settings, counters = self._settings, self._counters
        number = counters.generation + 1
        candidates = self._search.ask()
        seeds = [
            env_seed(settings.seed, "fitness", number, episode) for episode in range(settings.rollouts_per_candidate)
        ]
        scores = self._fitness.training.evaluate(candidates, seeds, on_episodes)
        fitness = scores.returns.mean(axis=1)
        decay = settings.weight_decay * np.square(candidates).mean(axis=1)
        self._search.tell(candidates, scores.shaped_returns.mean(axis=1) - decay)
        counters.generation = number
        self._count_steps(scores, "dream" if settings.dream else "real")
        figures = {"best": float(fitness.max()), "mean": float(fitness.mean()), "worst": float(fitness.min())}
        evaluated = self._evaluate(self._search.mean, number, number - counters.phase_start)
        counters.seconds += time.monotonic() - started
        self._log.append(
            number,
            seconds=round(counters.seconds, 3),
            phase=counters.phase,
            dream=settings.dream,
            step_size=self._search.step_size,
            mean_length=float(scores.lengths.mean()),
            real_steps=counters.steps["real"],
            dream_steps=counters.steps["dream"],
            **figures,
            **evaluated,
        )
        self._save()
        validation = {} if counters.best_return is None else {"validation": counters.best_return}
        return {"generation": number, "best": figures["best"], "mean": figures["mean"], **validation}

    def _evaluate(self, mean: Array, generation: int, since: int) -> dict[str, Any]:
        """Scores a mean of the distribution where that is due, and keeps it if it is the best.

        Args:
            since: generations of this phase.
        """
        settings = self._settings
        if since % settings.validate_every and since != settings.generations:
            return {}
        validation = self._score(mean, self._fitness.validation, settings.validate_in)
        # The mean before the first generation of a later phase is the best C of the phase before: it is saved already.
        if since or not self._counters.phase:
            save_checkpoint(means_folder(self._folder), f"{generation:06d}", self._info(), {"parameters": mean})
        self._keep_best(mean, generation, validation)
        return {"validation_return": validation, "validated_in": settings.validate_in}

    def _score(self, mean: Array, fitness: Fitness, place: str) -> float:
        settings = self._settings
        seeds = [env_seed(settings.seed, "validation", episode) for episode in range(settings.validation_episodes)]
        scores = fitness.evaluate(mean[None], seeds)
        self._count_steps(scores, place)
        return float(scores.returns.mean())

    def _keep_best(self, mean: Array, generation: int, validation: float) -> None:
        counters = self._counters
        if counters.best_return is None or validation > counters.best_return:
            counters.best_return, counters.best_generation = validation, generation
            info = {"generation": generation, "validation_return": validation}
            save_checkpoint(self._folder, "best", self._info() | info, {"parameters": mean})

    def _count_steps(self, scores: Scores, place: str) -> None:
        self._counters.steps[place] += int(scores.lengths.sum())

    def _info(self) -> dict[str, Any]:
        dream = DreamSettings(**pick(DreamSettings, self._settings))
        return model_info(self._shape) | self._counters.inputs | {"dream": asdict(dream)}

    def _save(self) -> None:
        arrays, values = self._search.state()
        counters = self._counters
        progress = {
            "config": asdict(self._settings),
            "counters": asdict(counters),
            "search": values,
            "finished": counters.finished,
        }
        weights = {"parameters": self._search.mean}
        save_checkpoint(self._folder, "latest", self._info() | progress, weights, arrays)


def _resume(
    settings: TrainControllerSettings, folder: Path, shape: ControllerSettings, inputs: dict[str, Any]
) -> tuple[SearchState, Search]:
    search_settings = SearchSettings(settings.population_size, settings.step_size)
    refuse_exported(folder, TRAIN_CONTROLLER)
    if not has_checkpoint(folder, "latest"):
        return SearchState(inputs), Search(search_settings, shape.num_parameters, settings.seed)
    checkpoint = load_checkpoint(folder, "latest", TRAIN_CONTROLLER)
    counters = SearchState(**checkpoint.info["counters"])
    if counters.inputs != inputs:  # another search, which may have other settings
        counters = _new_phase(counters, inputs)
        mean = None if settings.init == "scratch" else _best_parameters(folder)
        return counters, Search(search_settings, shape.num_parameters, settings.seed, mean, counters.phase)
    check_config(checkpoint, settings, TRAIN_CONTROLLER, _EXTENT)
    search = _restored_search(search_settings, shape, settings.seed, counters.phase, checkpoint)
    grown = settings.generations > counters.generation - counters.phase_start
    counters.finished = counters.finished and not grown
    return counters, search


def means_folder(controller: Path) -> Path:
    """Where the distribution's means are kept, one for each generation that was evaluated."""
    return controller / "means"


def _restored_search(
    settings: SearchSettings, shape: ControllerSettings, seed: int, phase: int, checkpoint: Checkpoint
) -> Search:
    search = Search(settings, shape.num_parameters, seed, checkpoint.weights["parameters"], phase)
    search.restore(checkpoint.state, checkpoint.info["search"])
    return search


def _new_phase(counters: SearchState, inputs: dict[str, Any]) -> SearchState:
    generation = counters.generation
    steps, seconds = counters.steps, counters.seconds
    return SearchState(inputs, counters.phase + 1, generation, generation, generation, steps=steps, seconds=seconds)


def _best_parameters(folder: Path) -> np.ndarray:
    return load_checkpoint(folder, "best", TRAIN_CONTROLLER).weights["parameters"]
