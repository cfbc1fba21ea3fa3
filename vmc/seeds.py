"""A recipe run with several seeds, each in its own folders, and their scores pooled."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmc.errors import VmcError
from vmc.extras import is_installed
from vmc.pipeline import PipelineSettings, run_pipeline
from vmc.report.curves import plot_seeds
from vmc.runs import TEST
from vmc.stages.evaluate import summary
from vmc.stages.results import read_result
from vmc.storage.checkpoint import versions
from vmc.storage.files import write_json


def seeded(settings: PipelineSettings, seed: int) -> PipelineSettings:
    """The same run with another seed, in folders of its own; the recipe's own seed keeps the folders' names."""
    recipe = settings.recipe.adapted(seed=seed)
    if seed == settings.recipe.seed:
        return replace(settings, recipe=recipe)
    data, run = (folder.with_name(f"{folder.name}-seed-{seed}") for folder in (settings.data, settings.run))
    return replace(settings, recipe=recipe, data=data, run=run)


def pooled_paths(run: Path) -> list[Path]:
    """What is there of a run's pooled seeds: `<run>-seeds.json`, and the picture of the searches."""
    return [path for path in (_beside(run, ".json"), _beside(run, ".png")) if path.exists()]


def _beside(run: Path, ending: str) -> Path:
    return run.with_name(f"{run.name}-seeds{ending}")


def run_seeds(
    settings: PipelineSettings, seeds: Sequence[int], tell: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Runs the recipe once for each seed; each run resumes where it stopped.

    It writes `<run>-seeds.json`, and with the extra `plots` the searches of all seeds as `<run>-seeds.png`.

    Args:
        tell: gets the sentences of `run_pipeline`.

    Returns:
        What was written: `seeds` (each with its run, mean, std, ci95), `mean` (over the seeds' means), `std` (of the
        seeds' means), `ci95` (Student's interval of the mean over seeds; None for one seed), and `pooled`: mean, std
        and the number of all episodes together.

    Raises:
        VmcError: a recipe without a test, or whatever a stage raises; the finished stages stay finished.
    """
    if "test" not in settings.recipe.stages():
        raise VmcError(f"The recipe {settings.recipe.name} has no stage `test`, so there are no scores to pool.")
    rows, episodes = [], []
    for number, seed in enumerate(seeds, start=1):
        each = seeded(settings, seed)
        print(f"Seed {seed} ({number} of {len(seeds)}): {each.run}", file=sys.stderr, flush=True)
        run_pipeline(each, **({} if tell is None else {"tell": tell}))
        result = read_result(each.run / TEST)
        if result is None:
            raise VmcError(f"There is no {each.run / TEST}: the test could not be kept.", "Run the same command again.")
        returns = [episode["episode_return"] for episode in result["episodes"]]
        episodes += returns
        rows.append({"seed": seed, "run": str(each.run), "episodes": len(returns), **summary(returns)})
    means = [float(row["mean"]) for row in rows]
    pooled = {
        "env": settings.recipe.env,
        "recipe": settings.recipe.name,
        **over_seeds(means),
        "pooled": {"episodes": len(episodes), **summary(episodes)},
        "seeds": rows,
        "versions": versions(),
    }
    write_json(_beside(settings.run, ".json"), pooled)
    if is_installed("plots") and "train-controller" in settings.recipe.stages():
        plot_seeds([Path(row["run"]) for row in rows], _beside(settings.run, ".png"))
    return pooled


def over_seeds(means: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation and Student's 95% interval over the means of the seeds; one seed has no interval."""
    if len(means) == 1:
        return {"mean": float(means[0]), "std": None, "ci95": None}
    found = summary(means)
    return {name: found[name] for name in ("mean", "std", "ci95")}
