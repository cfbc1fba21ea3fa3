"""The rows of the paper's table (section 3.4): what C sees, whether M was trained, and where C was evolved."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vmc.config import DEFAULT_PRESET, DREAM_PRESET, make_settings
from vmc.envs import get_task
from vmc.executors import available_cores, processor
from vmc.models.checkpoints import (
    STARTS,
    TRAIN_MDRNN,
    dynamics_checkpoint,
    dynamics_folder,
    vae_checkpoint,
    vae_folder,
)
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.pipeline import PipelineSettings, run_pipeline
from vmc.stages.presets import preset_values
from vmc.stages.settings import EvaluateSettings, TrainControllerSettings, TrainMDRNNSettings
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import keep_untrained
from vmc.storage.checkpoint import copy_checkpoint, has_checkpoint, load_checkpoint
from vmc.storage.files import write_json
from vmc.storage.rollouts import RolloutDataset

TABLE = "ablation.json"


@dataclass(frozen=True)
class AblationSettings:
    """What all rows have in common.

    Attributes:
        source: the run whose V and M the rows with a real fitness share.
        folder: each row has a run of its own below it, and the table is `ablation.json` there.
        overrides: values of the search that beat the preset's.
        seed: of the searches, and of the test episodes, which are the same for every row.
    """

    env: str
    preset: str
    source: Path
    folder: Path
    seed: int
    device: str
    workers: int
    overrides: Mapping[str, Any] = field(default_factory=dict)


class Cost(NamedTuple):
    """Frames of the real environment, and seconds."""

    real_frames: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        title: what it is.
        make: makes its run, all but the test, where that is not done yet, and says what that has cost.
        policy: who drives in the test.
    """

    title: str
    make: Callable[[AblationSettings, Path], Cost]
    policy: str = "controller"


def run_row(name: str, settings: AblationSettings) -> dict[str, Any]:
    """Makes a row's run where that is not done yet, tests it, and writes it into the table.

    Returns:
        The row: its name and title, the paper's score, episodes, mean, std, ci95, min, max, real frames, hours and
        machine. Rows that share V and M count their search alone.

    Raises:
        VmcError: whatever a stage raises.
    """
    row, run = ROWS[name], settings.folder / name
    cost = row.make(settings, run)
    values = preset_values(settings.preset, settings.env, "test")
    test = make_settings(EvaluateSettings, settings.env, values, {"seed": settings.seed, "policy": row.policy})
    result = evaluate_controller(test, run, run, settings.device, settings.workers)
    made = {
        "row": name,
        "title": row.title,
        "paper": get_task(settings.env).published.get(name, ""),
        "episodes": test.episodes,
        **{figure: result[figure] for figure in ("mean", "std", "ci95", "min", "max")},
        "real_frames": cost.real_frames,
        "hours": round(cost.seconds / 3600, 3),
        "machine": f"{processor()}, {available_cores()} cores",
    }
    others = [other for other in read_rows(settings.folder) if other["row"] != name]
    names = list(ROWS)
    write_json(settings.folder / TABLE, sorted([*others, made], key=lambda row: names.index(row["row"])))
    return made


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows that are there, in the table's order."""
    path = folder / TABLE
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def _real_search(given: Mapping[str, Any], trained: bool = True) -> Callable[[AblationSettings, Path], Cost]:
    """A search in reality from nothing, on the shared V and M, or on an M that was never trained."""

    def make(settings: AblationSettings, run: Path) -> Cost:
        vae = vae_checkpoint(settings.source, settings.env)
        copy_checkpoint(vae, vae_folder(run))
        if trained:
            dynamics = dynamics_checkpoint(settings.source, vae)
            copy_checkpoint(dynamics, dynamics_folder(run))
            if has_checkpoint(dynamics_folder(settings.source), STARTS):  # so that the row dreams and can be exported
                starts = load_checkpoint(dynamics_folder(settings.source), STARTS, TRAIN_MDRNN)
                copy_checkpoint(starts, dynamics_folder(run))
        else:
            keep_untrained(make_settings(TrainMDRNNSettings, settings.env, {"epochs": 0, "seed": settings.seed}), run)
        preset = preset_values(settings.preset, settings.env, "train-controller")
        own = preset_values(settings.preset, settings.env, "real-search")
        values = [preset, own, {"dream": False, "seed": settings.seed, **given}, settings.overrides]
        search = make_settings(TrainControllerSettings, settings.env, *values)
        counters = train_controller(search, run, run, settings.device, settings.workers)
        return Cost(counters.num_steps["real"], counters.seconds)

    return make


def _dream(settings: AblationSettings, run: Path) -> Cost:
    """The whole chain, whose every round evolves C in the dream."""
    preset = DREAM_PRESET if settings.preset == DEFAULT_PRESET else settings.preset
    rounds = preset_values(preset, settings.env, "rounds")["default"]
    data = run / "data"
    chain = PipelineSettings(
        settings.env,
        preset,
        rounds,
        settings.seed,
        data,
        run,
        settings.device,
        settings.workers,
        {"train-controller": {"dream": True, **settings.overrides}},
    )
    records = run_pipeline(chain)
    looks = sum(record.figures.get("real steps", 0) for record in records[-3:] if record.stage == "train-controller")
    return Cost(int(RolloutDataset(data).num_frames + looks), sum(record.seconds for record in records))


def _nothing(settings: AblationSettings, run: Path) -> Cost:
    return Cost()


ROWS = {
    "full": Row("full model, fitness in reality", _real_search({"inputs": "zh"})),
    "v-only": Row("V only: C on z", _real_search({"inputs": "z"})),
    "v-only-hidden": Row("V only, 40 hidden units", _real_search({"inputs": "z", "hidden_units": 40})),
    "untrained-m": Row("full model, M untrained", _real_search({"inputs": "zh"}, trained=False)),
    "dream": Row("full model, fitness in the dream", _dream),
    "random": Row("random policy", _nothing, policy="random"),
}
