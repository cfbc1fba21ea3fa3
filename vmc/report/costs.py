"""What a run has cost: time and frames of the real environment, by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmc.report.search import Search
from vmc.storage.metrics import read_metrics

# Stages that write `metrics.jsonl`, and their folders.
_FOLDERS = {"train-vae": "vae", "train-mdrnn": "mdrnn", "train-controller": "controller"}


@dataclass(frozen=True)
class StageCost:
    """What a stage has cost in all rounds.

    Attributes:
        real_frames: of the real environment; None for a stage that has none, or does not say.
    """

    stage: str
    rounds: int
    seconds: float
    real_frames: int | None = None


@dataclass(frozen=True)
class Costs:
    """What a run has cost.

    Attributes:
        stages: in the order in which they ran first.
        is_whole: all stages are there, by `run.json`; else those alone that kept metrics.
    """

    stages: Sequence[StageCost]
    is_whole: bool

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def real_frames(self) -> int | None:
        """Of the data, the search and its validation; None where that is not known."""
        known = [stage.real_frames for stage in self.stages if stage.real_frames is not None]
        return sum(known) if known else None


def read_costs(run: Path, search: Search) -> Costs:
    """The costs by `run.json`; without one, those in the `metrics.jsonl` of the stages."""
    if not search.records:
        return Costs(list(_stages_with_metrics(run, search)), is_whole=False)
    names = list(dict.fromkeys(record["stage"] for record in search.records))
    return Costs([_of_records(name, search) for name in names], is_whole=True)


def _of_records(stage: str, search: Search) -> StageCost:
    records = [record for record in search.records if record["stage"] == stage]
    frames = None
    if stage == "rollouts":
        frames = _last(records, "frames")
    elif stage == "train-controller":
        frames = _searched(search) if search.lines else _last(records, "real steps")
        frames = frames or 0
    return StageCost(stage, len(records), sum(record["seconds"] for record in records), frames)


def _stages_with_metrics(run: Path, search: Search) -> Any:
    for stage, folder in _FOLDERS.items():
        lines = read_metrics(run / folder)
        if lines:
            frames = _searched(search) if stage == "train-controller" else None
            yield StageCost(stage, 1, lines[-1].get("seconds") or 0.0, frames)


def _searched(search: Search) -> int:
    return int(search.lines[-1].get("real_steps") or 0)


def _last(records: Sequence[Mapping[str, Any]], name: str) -> int | None:
    """Frames are counted over all rounds: the last record has them all."""
    value = records[-1]["metrics"].get(name)
    return None if value is None else int(value)
