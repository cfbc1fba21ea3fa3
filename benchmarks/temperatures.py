r"""The paper's table of temperatures (section 4.4): a C evolved in the dream at each.

    python benchmarks/temperatures.py --run results/take-cover [--out results/take-cover-temperatures.json]

V, M and the moments that dreams begin at are the run's; no data are needed. Each search has a folder beside the result,
so an interrupted one goes on where it stopped. No search uses the real environment for validation, as in the paper: the
C that is tested is the best one in the dream.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vmc.models.checkpoints import (
    STARTS,
    TRAIN_MDRNN,
    dynamics_checkpoint,
    dynamics_folder,
    vae_checkpoint,
    vae_folder,
)
from vmc.recipes import DEFAULT_PRESET, find_recipe, first_settings
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.train_controller import train_controller
from vmc.storage.checkpoint import copy_checkpoint, load_checkpoint, versions


def row(temperature: float, source: Path, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Evolves a C in the dream at a temperature, and scores it there and in the real environment."""
    vae = vae_checkpoint(source)
    copy_checkpoint(vae, vae_folder(run))
    copy_checkpoint(dynamics_checkpoint(source, vae), dynamics_folder(run))
    copy_checkpoint(load_checkpoint(dynamics_folder(source), STARTS, TRAIN_MDRNN), dynamics_folder(run))
    env, no_data = vae.info["env"], run / "data"
    recipe = find_recipe(DEFAULT_PRESET, env).adapted(seed=options.seed)
    given = {"temperature": temperature, "generations": options.generations, "dream": True, "validate_in": "dream"}
    search = first_settings(recipe, "train-controller", given)
    counters = train_controller(search, no_data, run, options.device, options.workers)
    test = first_settings(recipe, "test", {"temperature": temperature})
    scores = {}
    for place, dream in (("virtual", True), ("actual", False)):
        settings = replace(test, episodes=options.episodes, dream=dream)
        result = evaluate_controller(settings, no_data, run, options.device, options.workers)
        scores[place] = {name: result[name] for name in ("mean", "std", "ci95", "min", "max")}
    return {"temperature": temperature, **scores, "search_seconds": counters.seconds, "search": asdict(search)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--temperatures", default="0.1,0.5,1.0,1.15,1.3")
    parser.add_argument("--out", type=Path, default=Path("results") / "take-cover-temperatures.json")
    parser.add_argument("--generations", type=int, help="of each search; default: the recipe's")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    rows = []
    for temperature in map(float, options.temperatures.split(",")):
        folder = options.out.with_suffix("") / f"{temperature:g}"
        rows.append(row(temperature, options.run, folder, options))
        virtual, actual = rows[-1]["virtual"], rows[-1]["actual"]
        print(
            f"temperature {temperature:4g}: {virtual['mean']:6.0f} +- {virtual['std']:4.0f} in the dream, "
            f"{actual['mean']:6.0f} +- {actual['std']:4.0f} in reality",
            flush=True,
        )
    result = {"env": rows[0]["search"]["env"], "episodes": options.episodes, "rows": rows, "versions": versions()}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
