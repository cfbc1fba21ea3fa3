"""A recipe's rounds, one after another, resuming at the first stage that is not finished."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vmc.envs import check_env
from vmc.errors import VmcError
from vmc.models.dynamics import dynamics_class
from vmc.models.vision import choose_vision
from vmc.recipes import DueStage, Recipe, completed, due_stages, to_toml
from vmc.runs import RECIPE
from vmc.stages.collect import collect
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.stages.train_vae import train_vae
from vmc.storage.checkpoint import read_sidecar
from vmc.storage.files import locked, replacing, sha256_of, write_json
from vmc.storage.metrics import check_loggers
from vmc.storage.rollouts import RolloutDataset

Metrics = dict[str, float]

_HEADER = """\
# The recipe of this run, with all its options. `vmc run --recipe` and this file is the same run again.
# An option that is not here has no value.
"""


@dataclass(frozen=True)
class PipelineSettings:
    """What `vmc run` is asked to do.

    Attributes:
        recipe: with its environment (`find_recipe`, or `Recipe.adapted`).
        data, run: the folders of the episodes and of all else.
        device: `auto`, `cpu` or `cuda`.
        workers: processes that step environments; 0 works in this one.
        loggers: where metrics go beside `metrics.jsonl` (`vmc.storage.metrics.LOGGERS`).
    """

    recipe: Recipe
    data: Path
    run: Path
    device: str = "auto"
    workers: int = 0
    loggers: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageRecord:
    """One finished stage of one round: its settings, its seconds, the metrics that matter, and what it made.

    `output` is the fingerprint of the data or the SHA-256 of the model. As long as the last output of each stage is
    still what lies on the disk, the records hold; what was changed or removed since is made again.
    """

    round: int
    stage: str
    settings: dict[str, Any]
    seconds: float
    metrics: Metrics
    output: str


def run_pipeline(settings: PipelineSettings) -> list[StageRecord]:
    """Runs all stages of all rounds; those that `run.json` holds, and that still hold, are passed over.

    The run's folder keeps the recipe, as `recipe.toml`.

    Returns:
        A record for each stage of each round, in order.

    Raises:
        VmcError: a recipe without an environment, or whatever a stage raises; the finished stages stay finished.
    """
    due = list(due_stages(settings.recipe))
    check_loggers(settings.loggers)
    _check_before_any_work(due)
    with locked(settings.run):
        records = _valid_records(settings, due)
        _keep_recipe(settings)
        for position, stage in enumerate(due):
            if not _is_recorded(records, position, stage):
                # What comes after was built on what this stage had before: it is run again.
                del records[position:]
                records.append(_run_stage(settings, records, stage))
                write_json(settings.run / "run.json", [vars(record) for record in records])
    return records[: len(due)]


def describe_run(settings: PipelineSettings) -> str:
    """The run as TOML: its recipe with every option of every round, and in comments where it would be.

    Raises:
        VmcError: a recipe without an environment, or an option that a stage does not take.
    """
    places = {"data": settings.data, "run": settings.run, "device": settings.device, "workers": settings.workers}
    head = "".join(f"# {name}: {value}\n" for name, value in places.items())
    return head + to_toml(completed(settings.recipe))


def _check_before_any_work(due: list[DueStage]) -> None:
    preprocessing = check_env(due[0].settings.env)
    for stage in due:
        if stage.stage == "train-vae":
            choose_vision(stage.settings.vision, stage.settings.env, preprocessing)
        if stage.stage == "train-mdrnn":
            dynamics_class(stage.settings.dynamics)


def _keep_recipe(settings: PipelineSettings) -> None:
    with replacing(settings.run / RECIPE) as partial:
        partial.write_text(_HEADER + to_toml(completed(settings.recipe)), encoding="utf-8")


def _run_stage(settings: PipelineSettings, before: list[StageRecord], due: DueStage) -> StageRecord:
    seconds, metrics = _RUNNERS[due.stage](settings, due.settings)
    if due.stage in _CUMULATIVE:
        earlier = sum(record.seconds for record in before if record.stage == due.stage)
        # A stage that had nothing to do has exactly what it had; one with less had its folder removed.
        seconds = max(seconds - earlier, 0.0) if seconds > 0.99 * earlier else seconds
    return StageRecord(due.round, due.stage, asdict(due.settings), seconds, metrics, _output(settings, due.stage))


def _is_recorded(records: list[StageRecord], position: int, due: DueStage) -> bool:
    if position >= len(records):
        return False
    record = records[position]
    return (record.round, record.stage, record.settings) == (due.round, due.stage, asdict(due.settings))


def _valid_records(settings: PipelineSettings, due: list[DueStage]) -> list[StageRecord]:
    """The records of `run.json` up to the first whose output is no longer there.

    Raises:
        VmcError: the run has more rounds than the recipe, which cannot be undone.
    """
    records = _read_records(settings.run)
    rounds, asked = 1 + max((record.round for record in records), default=0), len(settings.recipe.rounds)
    if rounds > asked:
        raise VmcError(
            f"{settings.run} has {rounds} rounds already, and the recipe {settings.recipe.name} has {asked}.",
            f"Give a recipe of {rounds} rounds or more, or another --run.",
        )
    under_way = next((each.stage for n, each in enumerate(due) if not _is_recorded(records, n, each)), None)
    last = {record.stage: position for position, record in enumerate(records)}
    for position in sorted(last.values()):
        record, found = records[position], _output(settings, records[position].stage)
        # What a stage had in the round before, it has gone on from if it was stopped on its way.
        if found != record.output and not (found and record.stage == under_way):
            return records[:position]
    return records


def _output(settings: PipelineSettings, stage: str) -> str:
    """What identifies a stage's present result; empty where there is none."""
    try:
        if stage == "rollouts":
            return RolloutDataset(settings.data).fingerprint()
        if stage == "test":
            return sha256_of(settings.run / "test.json")
        folder = settings.run / _FOLDERS[stage]
        return str(read_sidecar(folder, "best", f"vmc {stage}")["files"]["weights"]["sha256"])
    except (VmcError, OSError):
        return ""


def _rollouts(settings: PipelineSettings, stage: Any) -> tuple[float, Metrics]:
    done = collect(stage, settings.data, settings.run, settings.workers)
    return done.seconds, {"episodes": done.num_episodes, "frames": done.num_frames, "mean return": done.mean_return}


def _vae(settings: PipelineSettings, stage: Any) -> tuple[float, Metrics]:
    state = train_vae(stage, settings.data, settings.run, settings.device, settings.loggers)
    return state.seconds, {name: state.best[name] for name in ("reconstruction", "kl")}


def _mdrnn(settings: PipelineSettings, stage: Any) -> tuple[float, Metrics]:
    state, report = train_mdrnn(stage, settings.data, settings.run, settings.device, settings.loggers)
    names = {
        "nll_per_dimension": "NLL",
        "reward_explained_variance": "reward EV",
        "dream_error_50": "dream error",
    }
    return state.seconds, {label: report[name] for name, label in names.items() if name in report}


def _controller(settings: PipelineSettings, stage: Any) -> tuple[float, Metrics]:
    places = settings.data, settings.run, settings.device, settings.workers
    state = train_controller(stage, *places, settings.loggers)
    assert state.best_return is not None
    metrics = {"generations": state.generation, "validation return": state.best_return}
    return state.seconds, metrics | {f"{place} steps": n for place, n in state.num_steps.items() if n}


def _test(settings: PipelineSettings, stage: Any) -> tuple[float, Metrics]:
    result = evaluate_controller(stage, settings.data, settings.run, settings.device, settings.workers)
    return result["seconds"], {name: result[name] for name in ("mean", "std", "min", "max")}


_RUNNERS: dict[str, Callable[[PipelineSettings, Any], tuple[float, Metrics]]] = {
    "rollouts": _rollouts,
    "train-vae": _vae,
    "train-mdrnn": _mdrnn,
    "train-controller": _controller,
    "test": _test,
}
_FOLDERS = {"train-vae": "vae", "train-mdrnn": "mdrnn", "train-controller": "controller"}
# These count their seconds over all rounds.
_CUMULATIVE = _FOLDERS.keys()


def _read_records(run: Path) -> list[StageRecord]:
    path = run / "run.json"
    if not path.exists():
        return []
    try:
        return [StageRecord(**record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError):
        raise VmcError(f"{path} is damaged.", "Remove it; the stages themselves know what they have done.") from None
