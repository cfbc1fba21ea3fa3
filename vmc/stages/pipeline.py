"""The chain: every stage in order, for one round or more, resuming at the first unfinished one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vmc.config import make_settings
from vmc.envs import check_env
from vmc.errors import VmcError
from vmc.models.vision import choose_vision
from vmc.stages.collect import collect
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.presets import last_phases, preset_values
from vmc.stages.settings import STAGES
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.stages.train_vae import train_vae
from vmc.storage.checkpoint import read_sidecar
from vmc.storage.files import locked, sha256_of, write_json
from vmc.storage.rollouts import RolloutDataset

Figures = dict[str, float]


@dataclass(frozen=True)
class PipelineSettings:
    """What `vmc run` is asked to do.

    Attributes:
        rounds: the paper's iterative training: each further round collects with the current C, disturbed, and goes
            on with V and M on all data together, and with C.
        overrides: values of single stages' settings, by stage; they beat the preset.
    """

    env: str
    preset: str
    rounds: int
    seed: int
    data: Path
    run: Path
    device: str
    workers: int
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class StageRecord:
    """One finished stage of one round: its settings, its seconds, the figures that matter, and what it made.

    `output` is the fingerprint of the data or the SHA-256 of the model. As long as the last output of each stage is
    still what lies on the disk, the records hold; what was changed or removed since is made again.
    """

    round: int
    stage: str
    settings: dict[str, Any]
    seconds: float
    figures: Figures
    output: str


def run_pipeline(settings: PipelineSettings) -> list[StageRecord]:
    """Runs all stages of all rounds; those that `run.json` holds, and that still hold, are passed over.

    Returns:
        A record for each stage of each round, in order.

    Raises:
        VmcError: whatever a stage raises; the finished stages stay finished.
    """
    preprocessing = check_env(settings.env)
    for stage in STAGES:  # so that a wrong value is told before any work is done
        stage_settings(settings, stage, 0)
    choose_vision(stage_settings(settings, "train-vae", 0).vision, settings.env, preprocessing)
    with locked(settings.run):
        records = _valid_records(settings)
        for position, (number, stage, chosen) in enumerate(due_stages(settings)):
            if not _is_recorded(records, position, number, stage, chosen):
                # What comes after was built on what this stage had before: it is looked at again.
                del records[position:]
                records.append(_run_stage(settings, records, number, stage, chosen))
                write_json(settings.run / "run.json", [vars(record) for record in records])
    return records


def due_stages(settings: PipelineSettings) -> Iterator[tuple[int, str, Any]]:
    """What the chain runs, in order: the round, the stage and its settings."""
    for number in range(settings.rounds):
        for stage in STAGES:
            if _is_due(settings, stage, number):
                yield number, stage, stage_settings(settings, stage, number)


def _is_due(settings: PipelineSettings, stage: str, number: int) -> bool:
    """Only the last round's C is tested; V stays as it is after its own rounds, so that C can rely on it."""
    if stage == "test":
        return number + 1 == settings.rounds
    vae_rounds = preset_values(settings.preset, settings.env, "rounds")["vae"]
    return stage != "train-vae" or number < vae_rounds


def _run_stage(
    settings: PipelineSettings, before: list[StageRecord], number: int, stage: str, chosen: Any
) -> StageRecord:
    seconds, figures = _RUNNERS[stage](settings, chosen)
    if stage in _CUMULATIVE:
        earlier = sum(record.seconds for record in before if record.stage == stage)
        # A stage that had nothing to do has exactly what it had; one with less had its folder removed.
        seconds = max(seconds - earlier, 0.0) if seconds > 0.99 * earlier else seconds
    return StageRecord(number, stage, asdict(chosen), seconds, figures, _output(settings, stage))


def _is_recorded(records: list[StageRecord], position: int, number: int, stage: str, settings: Any) -> bool:
    if position >= len(records):
        return False
    record = records[position]
    return (record.round, record.stage, record.settings) == (number, stage, asdict(settings))


def _valid_records(settings: PipelineSettings) -> list[StageRecord]:
    """The records of `run.json` up to the first whose output is no longer there.

    Raises:
        VmcError: the run has more rounds than are asked for, which cannot be undone.
    """
    records = _read_records(settings.run)
    rounds = 1 + max((record.round for record in records), default=0)
    if rounds > settings.rounds:
        raise VmcError(
            f"{settings.run} has {rounds} rounds already, and --rounds is {settings.rounds}.",
            f"Give --rounds {rounds} or more, or another --run.",
        )
    due = enumerate(due_stages(settings))
    under_way = next((stage for n, (number, stage, s) in due if not _is_recorded(records, n, number, stage, s)), None)
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


def stage_settings(settings: PipelineSettings, stage: str, number: int) -> Any:
    """A stage's settings in a round: the preset's values, and the overrides."""
    layers = [preset_values(settings.preset, settings.env, stage), {"seed": settings.seed}]
    overrides = settings.overrides.get(stage, {})
    layers += [_differs(settings, stage, number), overrides]
    if stage == "rollouts" and number > 0:
        added = sum(_differs(settings, stage, later)["episodes"] for later in range(1, number + 1))
        layers.append({"episodes": stage_settings(settings, stage, 0).episodes + added, "policy": "controller"})
    return make_settings(STAGES[stage], settings.env, *layers)


def _differs(settings: PipelineSettings, stage: str, number: int) -> dict[str, Any]:
    """What the preset has for a round, where that differs from the first one; `episodes` are those that it adds."""
    if number == 0:
        return {}
    later = preset_values(settings.preset, settings.env, "later-rounds")
    return {**later.get(stage, {}), **_last_phase(settings, number).get(stage, {})}


def _last_phase(settings: PipelineSettings, number: int) -> Mapping[str, Any]:
    """The one of the preset's last phases that a round belongs to, or nothing."""
    first = settings.rounds
    for phase in last_phases(settings.preset, settings.env)[::-1]:
        first -= phase["rounds"]
        if number >= first:
            return phase
    return {}


def _rollouts(settings: PipelineSettings, stage: Any) -> tuple[float, Figures]:
    done = collect(stage, settings.data, settings.run, settings.workers)
    return done.seconds, {"episodes": done.num_episodes, "frames": done.num_frames, "mean return": done.mean_return}


def _vae(settings: PipelineSettings, stage: Any) -> tuple[float, Figures]:
    counters = train_vae(stage, settings.data, settings.run, settings.device)
    return counters.seconds, {name: counters.best[name] for name in ("reconstruction", "kl")}


def _mdrnn(settings: PipelineSettings, stage: Any) -> tuple[float, Figures]:
    counters, report = train_mdrnn(stage, settings.data, settings.run, settings.device)
    names = {
        "nll_per_dimension": "NLL",
        "reward_explained_variance": "reward EV",
        "dream_error_50": "dream error",
    }
    return counters.seconds, {label: report[name] for name, label in names.items() if name in report}


def _controller(settings: PipelineSettings, stage: Any) -> tuple[float, Figures]:
    counters = train_controller(stage, settings.data, settings.run, settings.device, settings.workers)
    assert counters.best_return is not None
    figures = {"generations": counters.generation, "validation return": counters.best_return}
    return counters.seconds, figures | {f"{place} steps": n for place, n in counters.num_steps.items() if n}


def _test(settings: PipelineSettings, stage: Any) -> tuple[float, Figures]:
    result = evaluate_controller(stage, settings.data, settings.run, settings.device, settings.workers)
    return result["seconds"], {name: result[name] for name in ("mean", "std", "min", "max")}


_RUNNERS: dict[str, Callable[[PipelineSettings, Any], tuple[float, Figures]]] = {
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
