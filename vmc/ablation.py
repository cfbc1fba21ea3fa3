"""The rows of the paper's table (section 3.4): what C sees, whether M was trained, and where C was evolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from vmc.config import make_settings
from vmc.envs import get_task
from vmc.executors import Workers, available_cores, processor
from vmc.models.checkpoints import (
    STARTS,
    TRAIN_MDRNN,
    dynamics_checkpoint,
    dynamics_folder,
    vae_checkpoint,
    vae_folder,
)
from vmc.pipeline import PipelineSettings, run_pipeline
from vmc.recipes import (
    DEFAULT_PRESET,
    DREAM_PRESET,
    REAL_PRESET,
    Recipe,
    find_recipe,
    find_specific,
    first_settings,
    preset_of,
)
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.settings import TrainMDRNNSettings
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import keep_untrained
from vmc.storage.checkpoint import copy_checkpoint, has_checkpoint, load_checkpoint
from vmc.storage.files import read_json, readable, write_json
from vmc.storage.rollouts import RolloutDataset

TABLE = "ablation.json"


@dataclass(frozen=True)
class AblationSettings:
    """The settings that all rows share.

    Attributes:
        recipe: with its environment. Its seed is that of the searches, and of the test episodes, which are the same for
            every row.
        source: the run whose V and M the rows with a real fitness share.
        folder: each row has a run of its own below it, and the table is `ablation.json` there.
        overrides: options of the search that beat the recipe's.
    """

    recipe: Recipe
    source: Path
    folder: Path
    device: str
    workers: Workers
    overrides: Mapping[str, Any] = field(default_factory=dict)

    @property
    def env(self) -> str:
        """The environment's name."""
        assert self.recipe.env is not None
        return self.recipe.env


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
    test = first_settings(settings.recipe, "test", {"policy": row.policy})
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
    way_out = "Remove it: the rows that are there are then made again."
    rows = read_json(path, way_out)
    if rows is None:
        return []
    with readable(path, way_out):
        return [{**row, "row": row["row"]} for row in rows]


def _real_search(given: Mapping[str, Any], trained: bool = True) -> Callable[[AblationSettings, Path], Cost]:
    """A search in the real environment from zeros, on the shared V and M, or on an M that was never trained."""

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
            untrained = {"epochs": 0, "seed": settings.recipe.seed}
            keep_untrained(make_settings(TrainMDRNNSettings, settings.env, untrained), run)
        values = {"dream": False, **given, **settings.overrides}
        search = first_settings(_recipe_of_real_search(settings), "train-controller", values)
        counters = train_controller(search, run, run, settings.device, settings.workers)
        return Cost(counters.num_steps["real"], counters.seconds)

    return make


def _recipe_of_real_search(settings: AblationSettings) -> Recipe:
    """The environment's recipe `real` in place of one whose first search may be in the dream."""
    if preset_of(settings.recipe) not in (DEFAULT_PRESET, DREAM_PRESET):
        return settings.recipe
    real = find_specific(REAL_PRESET, settings.env)
    return real.adapted(seed=settings.recipe.seed) if real else settings.recipe


def _dream(settings: AblationSettings, run: Path) -> Cost:
    """A whole run, whose every round evolves C in the dream."""
    recipe = settings.recipe
    if preset_of(recipe) == DEFAULT_PRESET:
        recipe = find_recipe(DREAM_PRESET, settings.env).adapted(seed=recipe.seed)
    recipe = recipe.adapted(overrides={"train-controller": {"dream": True, **settings.overrides}})
    data = run / "data"
    records = run_pipeline(PipelineSettings(recipe, data, run, settings.device, settings.workers))
    # The search counts its steps over all rounds.
    real_steps = [record.metrics.get("real steps", 0) for record in records if record.stage == "train-controller"]
    frames = RolloutDataset(data).num_frames + real_steps[-1]
    return Cost(int(frames), sum(record.seconds for record in records))


def _nothing(settings: AblationSettings, run: Path) -> Cost:
    return Cost()


ROWS = {
    "full": Row("full model, fitness in the real environment", _real_search({"inputs": "zh"})),
    "v-only": Row("V only: C on z", _real_search({"inputs": "z"})),
    "v-only-hidden": Row("V only, 40 hidden units", _real_search({"inputs": "z", "hidden_units": 40})),
    "untrained-m": Row("full model, M untrained", _real_search({"inputs": "zh"}, trained=False)),
    "dream": Row("full model, fitness in the dream", _dream),
    "random": Row("random policy", _nothing, policy="random"),
}
