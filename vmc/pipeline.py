"""A recipe's rounds, one after another, resuming at the first stage that is not finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from vmc.config import with_defaults
from vmc.envs import check_env
from vmc.errors import VmcError
from vmc.executors import Workers, executor_settings
from vmc.models.checkpoints import OTHER_SEED, stored_values
from vmc.models.dynamics import dynamics_class
from vmc.models.vision import choose_vision
from vmc.recipes import DueStage, Recipe, completed, due_stages, load_recipe, to_toml
from vmc.runs import RECIPE, env_of
from vmc.stages.collect import collect
from vmc.stages.evaluate import evaluate_and_keep
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.stages.train_vae import train_vae
from vmc.storage.checkpoint import has_checkpoint, read_sidecar
from vmc.storage.files import locked, read_json, readable, replacing, sha256_of, write_json
from vmc.storage.journal import sealed, unsealed
from vmc.storage.metrics import check_loggers
from vmc.storage.rollouts import RolloutDataset

Metrics = dict[str, float]

_RECORDS = "run.json"
_HEADER = """\
# The recipe of this run, with all its options. `vmc run --recipe` and this file is the same run again.
# An option that is not here has no value.
"""


@dataclass(frozen=True)
class PipelineSettings:
    """The settings of `vmc run`.

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
    workers: Workers = 0
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


class StageResult(NamedTuple):
    """What a stage did.

    Attributes:
        nothing_to_do: how the stage had ended before, where there was nothing to do for it; else empty.
        note: what is to be told beside that.
    """

    seconds: float
    metrics: Metrics
    nothing_to_do: str = ""
    note: str | None = None


def _silent(sentence: str) -> None:
    """Tells nobody."""


def run_pipeline(settings: PipelineSettings, tell: Callable[[str], None] = _silent) -> list[StageRecord]:
    """Runs all stages of all rounds; those that `run.json` holds, and that still hold, are passed over.

    The run's folder keeps the recipe, as `recipe.toml`. A stage that is asked for less than it has already (fewer
    epochs) does nothing: its record, the recipe's options of it and what came after it stay as they were.

    Args:
        tell: gets a sentence for each stage that had nothing to do, or whose result is not where it is expected.

    Returns:
        A record for each stage of each round, in order.

    Raises:
        VmcError: a recipe without an environment, or whatever a stage raises; the finished stages stay finished.
    """
    due = list(due_stages(settings.recipe))
    check_loggers(settings.loggers)
    _check_before_any_work(due)
    _check_env(settings.run, due[0].settings.env)
    tell = _once(tell)
    with locked(settings.run):
        records = _valid_records(settings, due)
        _check_seeds(settings.run, records, due)
        with _kept_recipe(settings) as not_done:
            for position, stage in enumerate(due):
                if not _is_recorded(records, position, stage):
                    result = _run_stage(settings, stage, tell)
                    if result.nothing_to_do and _has_record(records, position, stage):
                        not_done.append(stage)
                    else:
                        # What comes after was built on what this stage had before: it is run again.
                        del records[position:]
                        records.append(_record(settings, records, stage, result))
                        _write_records(settings.run, records)
    return records[: len(due)]


def describe_run(settings: PipelineSettings) -> str:
    """The run as TOML: its recipe with every option of every round, and in comments where it would be.

    Raises:
        VmcError: a recipe without an environment, or an option that a stage does not take.
    """
    places = {"data": settings.data, "run": settings.run, "device": settings.device}
    places |= executor_settings(settings.workers).given()
    head = "".join(f"# {name}: {value}\n" for name, value in places.items())
    return head + to_toml(completed(settings.recipe))


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Tells every sentence once: rounds may have the same one."""
    told: set[str] = set()

    def tell_once(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            tell(sentence)

    return tell_once


def _run_stage(settings: PipelineSettings, due: DueStage, tell: Callable[[str], None]) -> StageResult:
    result = _RUNNERS[due.stage](settings, due.settings)
    if result.nothing_to_do:
        tell(f"Nothing to do: {result.nothing_to_do}")
    if result.note:
        tell(result.note)
    return result


def _check_before_any_work(due: list[DueStage]) -> None:
    preprocessing = check_env(due[0].settings.env, getattr(due[0].settings, "max_steps", None))
    for stage in due:
        if stage.stage == "train-vae":
            choose_vision(stage.settings.vision, stage.settings.env, preprocessing)
        if stage.stage == "train-mdrnn":
            dynamics_class(stage.settings.dynamics)


def _check_env(run: Path, env: str) -> None:
    """Raises a `VmcError` if the run has a V of another environment."""
    was = env_of(run) if has_checkpoint(run / _FOLDERS["train-vae"], "best") else None
    if was not in (None, env):
        raise VmcError(f"{run} was made in {was}; now it is {env}.", "Give another --run, or the same --env as before.")


@contextmanager
def _kept_recipe(settings: PipelineSettings) -> Iterator[list[DueStage]]:
    """Keeps the recipe in the run's folder; yields a list for the stages that were not done as it asks.

    These have the options that they had before. Another recipe that a stage refuses leaves the one before, and its
    records, as long as no model has changed.
    """
    not_done: list[DueStage] = []
    before, records, models = _read_recipe(settings.run), _read_records(settings.run), _models(settings)
    _write_recipe(settings.run, settings.recipe)
    try:
        yield not_done
    except VmcError:
        is_another = before is not None and to_toml(completed(before)) != to_toml(completed(settings.recipe))
        if before is not None and is_another and _models(settings) == models:
            _write_recipe(settings.run, before)
            _write_records(settings.run, records)
        raise
    if before is not None and not_done:
        _write_recipe(settings.run, _without_what_was_not_done(settings.recipe, before, not_done))


def _write_recipe(run: Path, recipe: Recipe) -> None:
    with replacing(run / RECIPE) as partial:
        partial.write_text(_HEADER + to_toml(completed(recipe)), encoding="utf-8")


def _read_recipe(run: Path) -> Recipe | None:
    return load_recipe(run / RECIPE) if (run / RECIPE).exists() else None


def _without_what_was_not_done(recipe: Recipe, before: Recipe, not_done: list[DueStage]) -> Recipe:
    """The recipe, but with the options that these stages had before."""
    rounds = [dict(stages) for stages in recipe.rounds]
    for due in not_done:
        if due.round < len(before.rounds) and due.stage in before.rounds[due.round]:
            rounds[due.round][due.stage] = before.rounds[due.round][due.stage]
    return replace(recipe, rounds=tuple(rounds))


def _record(settings: PipelineSettings, before: list[StageRecord], due: DueStage, result: StageResult) -> StageRecord:
    seconds = result.seconds
    if due.stage in _CUMULATIVE:
        earlier = sum(record.seconds for record in before if record.stage == due.stage)
        # A stage that had nothing to do has what it had, but for rounding; one with less had its folder removed.
        seconds = max(seconds - earlier, 0.0) if seconds > (1 - 1e-9) * earlier else seconds
    output = _output(settings, due.stage)
    return StageRecord(due.round, due.stage, asdict(due.settings), seconds, result.metrics, output)


def _has_record(records: list[StageRecord], position: int, due: DueStage) -> bool:
    """Whether the stage was run before, with whatever settings."""
    return position < len(records) and (records[position].round, records[position].stage) == (due.round, due.stage)


def _is_recorded(records: list[StageRecord], position: int, due: DueStage) -> bool:
    if not _has_record(records, position, due):
        return False
    return with_defaults(due.settings, records[position].settings) == asdict(due.settings)


def _check_seeds(run: Path, records: list[StageRecord], due: list[DueStage]) -> None:
    """Raises a `VmcError` where a model of the run would have to go on with another seed."""
    for position, stage in enumerate(due):
        if stage.stage in _FOLDERS and _has_record(records, position, stage):
            was, now = records[position].settings.get("seed"), stage.settings.seed
            if was != now:
                raise VmcError(f"{run} was made with seed {was}; now it is {now}.", OTHER_SEED)


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
    """A hash that identifies a stage's present result; empty if there is none."""
    try:
        if stage == "rollouts":
            return RolloutDataset(settings.data).fingerprint()
        if stage == "test":
            return sha256_of(settings.run / "test.json")
        folder = settings.run / _FOLDERS[stage]
        weights = read_sidecar(folder, "best", f"vmc {stage}")["files"]["weights"]
        return str(weights["sha256"]) if (folder / weights["name"]).exists() else ""
    except (VmcError, OSError):
        return ""


def _rollouts(settings: PipelineSettings, stage: Any) -> StageResult:
    done = collect(stage, settings.data, settings.run, settings.workers)
    metrics = {"episodes": done.num_episodes, "frames": done.num_frames, "mean return": done.mean_return}
    return StageResult(done.seconds, metrics, done.nothing_to_do)


def _vae(settings: PipelineSettings, stage: Any) -> StageResult:
    state = train_vae(stage, settings.data, settings.run, settings.device, settings.loggers)
    metrics = {name: state.best[name] for name in ("reconstruction", "kl")}
    return StageResult(state.seconds, metrics, state.nothing_to_do)


def _mdrnn(settings: PipelineSettings, stage: Any) -> StageResult:
    state, report = train_mdrnn(stage, settings.data, settings.run, settings.device, settings.loggers)
    names = {
        "nll_per_dimension": "NLL",
        "reward_explained_variance": "reward EV",
        "dream_error_50": "dream error",
    }
    metrics = {label: report[name] for name, label in names.items() if name in report}
    return StageResult(state.seconds, metrics, state.nothing_to_do)


def _controller(settings: PipelineSettings, stage: Any) -> StageResult:
    places = settings.data, settings.run, settings.device, settings.workers
    state = train_controller(stage, *places, settings.loggers)
    assert state.best_return is not None
    metrics: dict[str, Any] = {"generations": state.generation, "validation return": state.best_return}
    metrics["kept generation"] = state.best_generation
    metrics |= {f"{place} steps": n for place, n in state.num_steps.items() if n}
    return StageResult(state.seconds, metrics, state.nothing_to_do)


def _test(settings: PipelineSettings, stage: Any) -> StageResult:
    result, kept = evaluate_and_keep(stage, settings.data, settings.run, settings.device, settings.workers)
    metrics = {name: result[name] for name in ("mean", "std", "min", "max")}
    return StageResult(result["seconds"], metrics, note=kept.note)


_RUNNERS: dict[str, Callable[[PipelineSettings, Any], StageResult]] = {
    "rollouts": _rollouts,
    "train-vae": _vae,
    "train-mdrnn": _mdrnn,
    "train-controller": _controller,
    "test": _test,
}
_FOLDERS = {"train-vae": "vae", "train-mdrnn": "mdrnn", "train-controller": "controller"}
# These count their seconds over all rounds.
_CUMULATIVE = _FOLDERS.keys()


def _models(settings: PipelineSettings) -> list[str]:
    return [_output(settings, stage) for stage in _FOLDERS]


def _write_records(run: Path, records: list[StageRecord]) -> None:
    write_json(run / _RECORDS, sealed(vars(record) for record in records))


def _read_records(run: Path) -> list[StageRecord]:
    path, way_out = run / _RECORDS, "Remove it; the stages themselves know what they have done."
    records = read_json(path, way_out)
    if records is None:
        return []
    with readable(path, way_out):
        return [stored_values(StageRecord, record, path) for record in unsealed(records, path, way_out)]
