"""The loop around every trainer: validation, keep-best, metrics, checkpoints and resume."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vmc.control.fitness import Fitness
from vmc.control.selection import num_episodes, successive_halving
from vmc.control.trainer import Array, Trainer
from vmc.errors import VmcError
from vmc.models.checkpoints import TRAIN_CONTROLLER, check_config, model_info, refuse_exported, stored_values
from vmc.models.controller import LinearSettings
from vmc.progress import Progress
from vmc.seeding import env_seed
from vmc.storage.checkpoint import Checkpoint, has_checkpoint, load_checkpoint, save_checkpoint
from vmc.storage.files import readable, write_json
from vmc.storage.metrics import MetricsLog, read_metrics

# What may change when a search is resumed: it only makes the search longer or shorter.
_EXTENT = {"generations", "target_return"}
# Makes a trainer that starts at these parameters (None: its own start), in this phase.
MakeTrainer = Callable[[Array | None, int], Trainer]


@dataclass(frozen=True)
class LoopSettings:
    """When C is validated, and when the search ends; see `TrainControllerSettings`."""

    dream: bool
    init: str
    generations: int
    target_return: float | None
    validate_every: int
    validate_in: str
    validation_episodes: int
    final_candidates: int
    final_episodes: int
    seed: int


@dataclass
class SearchState:
    """The counters of a search.

    A phase is a search with one V, one M and one place of the fitness. When these change, the next phase begins.

    Attributes:
        inputs: what the phase depends on: the hashes of V, M and data, the place of the fitness, `init`.
        num_steps: environment steps by where they were taken.
        nothing_to_do: where the search was finished before: how it ended, as a sentence; else empty. It is not kept.
    """

    inputs: dict[str, Any]
    phase: int = 0
    phase_start: int = 0
    generation: int = 0
    best_generation: int = 0
    best_return: float | None = None
    num_steps: dict[str, int] = field(default_factory=lambda: {"real": 0, "dream": 0})
    seconds: float = 0.0
    finished: bool = False
    nothing_to_do: str = ""

    def stored(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {name: value for name, value in asdict(self).items() if name != "nothing_to_do"}

    def next_phase(self, inputs: dict[str, Any]) -> SearchState:
        """The state at the beginning of the next phase."""
        generation, so_far = self.generation, {"num_steps": self.num_steps, "seconds": self.seconds}
        return SearchState(inputs, self.phase + 1, generation, generation, generation, **so_far)  # type: ignore[arg-type]


class SearchLoop:
    """Trains C in a folder, or goes on where the search was stopped, to the bit.

    Args:
        stage: all of the stage's settings, a dataclass; a search is resumed with the same ones.
        folder: of C's checkpoints.
        shape: C's.
        inputs: see `SearchState`.
        info: kept in the checkpoints beside that.
        validation: scores C on validation episodes.
        loggers: where the metrics go beside `metrics.jsonl` (`vmc.storage.metrics.LOGGERS`).

    Raises:
        VmcError: settings or a shape that changed, an exported or a corrupt C.
    """

    def __init__(
        self,
        settings: LoopSettings,
        stage: Any,
        folder: Path,
        shape: LinearSettings,
        inputs: dict[str, Any],
        info: Mapping[str, Any],
        make_trainer: MakeTrainer,
        validation: Fitness,
        loggers: Sequence[str] = (),
    ) -> None:
        self._settings, self._stage = settings, stage
        self._folder, self._validation = folder, validation
        self._info = {**model_info(shape), **inputs, **info}
        self._state, self._trainer = self._resume(shape, inputs, make_trainer)
        if self._state.finished:
            self._state.nothing_to_do = self._how_it_ended()
        else:
            write_json(folder / "config.json", asdict(stage))
        self._log = MetricsLog(folder, self._state.generation, loggers)

    def run(self) -> SearchState:
        """Runs until the last generation, or until the target is reached."""
        state, settings = self._state, self._settings
        if state.best_return is None:
            # A later search first validates the best C of the phase before, which is kept already.
            is_kept = state.phase and settings.generations
            first = _best_parameters(self._folder) if is_kept else self._trainer.parameters
            started = time.monotonic()
            self._validate(first, state.generation)
            state.seconds += time.monotonic() - started
            self._save()
        per_generation = self._trainer.episodes_per_generation
        done = (state.generation - state.phase_start) * per_generation
        title = "C in the dream" if settings.dream else "C"
        with closing(self._log), Progress(title, settings.generations * per_generation, "episodes", done) as progress:
            while not self._is_over(state):
                progress.advance(0, **self._generation(progress.advance))
        if not state.finished:
            self._select()
            state.finished = True
            self._save()
        return state

    def _resume(
        self, shape: LinearSettings, inputs: dict[str, Any], make_trainer: MakeTrainer
    ) -> tuple[SearchState, Trainer]:
        refuse_exported(self._folder, TRAIN_CONTROLLER)
        if not has_checkpoint(self._folder, "latest"):
            return SearchState(inputs), make_trainer(None, 0)
        checkpoint = load_checkpoint(self._folder, "latest", TRAIN_CONTROLLER)
        _check_shape(checkpoint, shape)
        state = stored_values(SearchState, checkpoint.info["state"], checkpoint.path)
        if state.inputs != inputs:  # another phase, which may have other settings
            state = state.next_phase(inputs)
            scratch = self._settings.init == "scratch"
            return state, make_trainer(None if scratch else _best_parameters(self._folder), state.phase)
        check_config(checkpoint, self._stage, TRAIN_CONTROLLER, _EXTENT)
        trainer = make_trainer(checkpoint.weights["parameters"], state.phase)
        with readable(checkpoint.path, "Restore it from a copy, or search in another folder."):
            trainer.restore(checkpoint.state, checkpoint.info["trainer"])
        state.finished = state.finished and self._is_over(state)
        return state, trainer

    def _is_over(self, state: SearchState) -> bool:
        return self._reached_target(state) or state.generation - state.phase_start >= self._settings.generations

    def _reached_target(self, state: SearchState) -> bool:
        target = self._settings.target_return
        return target is not None and state.best_return is not None and state.best_return >= target

    def _how_it_ended(self) -> str:
        state = self._state
        generations = f"{state.generation - state.phase_start} generations"
        if self._reached_target(state):
            return f"C in {self._folder} reached {state.best_return:.1f} already, after {generations}."
        return f"C in {self._folder} has {generations} already."

    def _generation(self, on_episodes: Callable[[int], None]) -> dict[str, float]:
        """One generation and its checkpoint; a kill before that loses only this generation."""
        started = time.monotonic()
        state, number = self._state, self._state.generation + 1
        metrics, num_steps = self._trainer.train(number, on_episodes)
        state.generation = number
        state.num_steps["dream" if self._settings.dream else "real"] += num_steps
        validated = self._validate(self._trainer.parameters, number)
        state.seconds += time.monotonic() - started
        self._log.append(
            number,
            seconds=round(state.seconds, 3),
            phase=state.phase,
            dream=self._settings.dream,
            real_steps=state.num_steps["real"],
            dream_steps=state.num_steps["dream"],
            **metrics,
            **validated,
        )
        self._save()
        best = {} if state.best_return is None else {"validation": state.best_return}
        return {"generation": number, "best": metrics["best"], "mean": metrics["mean"], **best}

    def _validate(self, parameters: Array, generation: int) -> dict[str, Any]:
        """If validation is due, scores a C on validation episodes, and keeps it if it is the best."""
        settings, state = self._settings, self._state
        since = generation - state.phase_start
        if since % settings.validate_every and since != settings.generations:
            return {}
        seeds = [env_seed(settings.seed, "validation", episode) for episode in range(settings.validation_episodes)]
        scores = self._validation.evaluate(parameters[None], seeds)
        state.num_steps[settings.validate_in] += int(scores.lengths.sum())
        mean_return = float(scores.returns.mean())
        # A later phase begins with the best C of the phase before, which stands there under its own generation.
        if since or not state.phase:
            save_checkpoint(means_folder(self._folder), f"{generation:06d}", self._info, {"parameters": parameters})
        if state.best_return is None or mean_return > state.best_return:
            state.best_return, state.best_generation = mean_return, generation
            validated = {"validation_return": mean_return, "validated_in": settings.validate_in}
            info = self._info | {"generation": generation, **validated}
            save_checkpoint(self._folder, "best", info, {"parameters": parameters})
        return {"validation_return": mean_return, "validated_in": settings.validate_in}

    def _select(self) -> None:
        """Keeps the best of the phase's best means, by episodes that no validation has used."""
        state = self._state
        generations = self._ranked()[: self._settings.final_candidates]
        if len(generations) < 2:
            return
        info = load_checkpoint(self._folder, "best", TRAIN_CONTROLLER).info
        # A search that was stopped after the choice, and before its own checkpoint, has chosen already.
        if info.get("selection", {}).get("phase") != state.phase:
            info = self._compare(generations)
        state.num_steps[self._settings.validate_in] += info["selection"]["num_steps"]
        state.best_generation, state.best_return = info["generation"], info["validation_return"]

    def _compare(self, generations: list[int]) -> dict[str, Any]:
        """Saves the best of these as `best`; returns what is told of it."""
        settings, first = self._settings, self._settings.validation_episodes
        candidates = np.stack([self._kept(generation) for generation in generations])
        episodes = range(first, first + settings.final_episodes)
        seeds = [env_seed(settings.seed, "validation", episode) for episode in episodes]
        with Progress("selection", num_episodes(len(candidates), len(seeds)), "episodes") as progress:
            found = successive_halving(candidates, self._validation, seeds, progress.advance)
        told = {"phase": self._state.phase, "generations": generations, **found._asdict()}
        info = self._info | {
            "generation": generations[found.winner],
            "validation_return": found.returns[found.winner],
            "validated_in": settings.validate_in,
            "selection": told,
        }
        save_checkpoint(self._folder, "best", info, {"parameters": candidates[found.winner]})
        return info

    def _ranked(self) -> list[int]:
        """The phase's generations that were validated, best first; the present best is one of them."""
        state = self._state
        lines = [line for line in read_metrics(self._folder) if line["step"] > state.phase_start]
        validated = {line["step"]: line["validation_return"] for line in lines if "validation_return" in line}
        ranked = sorted(validated, key=lambda generation: -validated[generation])
        return list(dict.fromkeys([state.best_generation, *ranked]))

    def _kept(self, generation: int) -> Array:
        """The parameters that were validated after a generation."""
        if generation == self._state.best_generation:
            return _best_parameters(self._folder)
        name = f"{generation:06d}"
        return load_checkpoint(means_folder(self._folder), name, TRAIN_CONTROLLER).weights["parameters"]

    def _save(self) -> None:
        arrays, values = self._trainer.state()
        state = self._state
        progress = {
            "config": asdict(self._stage),
            "state": state.stored(),
            "trainer": values,
            "finished": state.finished,
        }
        save_checkpoint(self._folder, "latest", self._info | progress, {"parameters": self._trainer.parameters}, arrays)


def means_folder(controller: Path) -> Path:
    """The folder of the validated parameters, one file for each validated generation."""
    return controller / "means"


def _best_parameters(folder: Path) -> Array:
    return load_checkpoint(folder, "best", TRAIN_CONTROLLER).weights["parameters"]


def _check_shape(checkpoint: Checkpoint, shape: LinearSettings) -> None:
    """Another shape would make the best C useless: it is refused before anything is written."""
    stored, asked = checkpoint.info["model"], model_info(shape)["model"]
    for name, value in asked.items():
        if stored.get(name) != value:
            raise VmcError(
                f"C in {checkpoint.path.parent} has {name.replace('_', ' ')} {stored.get(name)}; now it is {value}.",
                "Give the old value, or another --run. (To keep V and M, copy `vae`, `mdrnn` and `latents.h5` there.)",
            )
