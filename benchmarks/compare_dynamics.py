r"""Which M, and which way to find C? On the data of one run: quality, speed, and what each C is worth.

    python benchmarks/compare_dynamics.py --data data/carracing-v3 --run results/carracing-v3 \
        [--kinds lstm rssm transformer,context=16] [--trainers cma-es actor-critic planner] \
        [--epochs 8] [--out results/dynamics-carracing.json]

V and the latents are the run's; each M and each C has a folder beside the result, so an interrupted comparison goes on
where it stopped. The figures are of each M's best epoch, on the validation episodes, as `vmc train-mdrnn` reports them.
C is found from nothing in that M's dream, the best of its real validations kept, and tested in the real environment.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vmc.config import make_settings
from vmc.control.dream_fitness import DreamJob, DreamWorker, draw_starts
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import record_starts
from vmc.dream.world import DreamWorld
from vmc.envs import action_map_from_json
from vmc.models.checkpoints import dynamics_folder, vae_checkpoint, vae_folder
from vmc.models.controller import LinearSettings
from vmc.models.dynamics import KINDS as DYNAMICS
from vmc.models.loading import load_dynamics
from vmc.recipes import DEFAULT_PRESET, find_recipe, first_settings
from vmc.stages.device import choose_device
from vmc.stages.encode import ensure_latents
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.settings import EvaluateSettings, TrainMDRNNSettings
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.storage.checkpoint import versions
from vmc.storage.latents import Latents
from vmc.storage.rollouts import RolloutDataset

POPULATION, ROLLOUTS, HORIZON = 64, 16, 64
SHARED = "lstm+shared"  # the LSTM with one set of mixture weights
# The options of each search, beside those of the environment's recipe.
TRAINERS: dict[str, dict[str, Any]] = {
    "cma-es": {"dream": True, "validate_in": "real", "validate_every": 10, "validation_episodes": 16},
    "actor-critic": {
        **{"dream": True, "validate_in": "real", "validate_every": 5, "validation_episodes": 16},
        **{"trainer": "actor-critic", "hidden_units": 64, "generations": 60, "updates": 50, "imagined_dreams": 256},
        **{"learning_rate": 3e-4, "temperature": 1.0, "weight_decay": 0.0},
    },
    "planner": {"dream": False, "trainer": "planner", "generations": 1, "validation_episodes": 1},
}


def body(run: Path, folder: Path, with_m: bool = False) -> Path:
    """A run's V and latents, and its M, in a folder where another M or another C can stand beside them."""
    for part in (vae_folder, dynamics_folder)[: 1 + with_m]:
        shutil.copytree(part(run), part(folder), dirs_exist_ok=True)
    shutil.copy2(run / "latents.h5", folder / "latents.h5")
    return folder


def measure(settings: TrainMDRNNSettings, data: Path, run: Path, device: str) -> dict[str, Any]:
    """Trains one M in its run's folder: its report, size and training time."""
    counters, report = train_mdrnn(settings, data, run, device)
    dynamics, checkpoint = load_dynamics(run, vae_checkpoint(run))
    return {
        "dynamics": settings.dynamics,
        "mixture": settings.mixture,
        "parameters": sum(p.numel() for p in dynamics.parameters()),
        "epochs": counters.epoch,
        "best_epoch": checkpoint.info["epoch"],
        "training_seconds": counters.seconds,
        **report,
    }


def score(trainer: str, env: str, data: Path, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Finds C in this M's dream, and tests it in the real environment."""
    recipe = find_recipe(DEFAULT_PRESET, env).adapted(seed=options.seed)
    given: dict[str, Any] = dict(TRAINERS[trainer])
    if trainer == "cma-es":
        given |= {"generations": options.generations, "horizon": options.horizon}
    search = first_settings(recipe, "train-controller", {"init": "scratch", **given})
    counters = train_controller(search, data, run, options.device, options.workers)
    # A planner drives a few steps a second.
    episodes = options.planned_episodes if trainer == "planner" else options.episodes
    test = make_settings(EvaluateSettings, env, {"episodes": episodes, "seed": options.seed})
    started = time.perf_counter()
    result = evaluate_controller(test, data, run, options.device, options.workers)
    seconds = time.perf_counter() - started
    return {
        **{name: result[name] for name in ("mean", "std", "ci95")},
        "episodes": episodes,
        "validation_return": counters.best_return,
        "search_seconds": counters.seconds,
        "steps_per_second": sum(each["episode_length"] for each in result["episodes"]) / seconds,
    }


def make_worker(latents: Latents, run: Path, device: torch.device) -> tuple[DreamWorker, DreamJob]:
    """Dreams of this M that never end early, so that the batch stays full; and what it is to dream."""
    dynamics, checkpoint = load_dynamics(run, vae_checkpoint(run))
    dynamics.termination.bias.fill_(-1e6)
    dynamics.to(device)
    action_map, sizes = action_map_from_json(checkpoint.info["action_map"]), dynamics.feature_sizes
    shape = LinearSettings("zh", sizes["z"] + sizes["h"], action_map.size)
    info = checkpoint.info
    starts = record_starts(dynamics, latents, latents.validation(), info["sample_latents"], 0, info["no_reward_limit"])
    settings = DreamSettings(horizon=HORIZON)
    candidates, seeds = np.zeros((POPULATION, shape.num_parameters)), range(ROLLOUTS)
    job = DreamJob(candidates, seeds, draw_starts(starts, seeds))
    return DreamWorker(DreamWorld(dynamics), settings, shape, action_map), job


def dream_speeds(workers: list[tuple[DreamWorker, DreamJob]], rounds: int) -> list[list[float]]:
    """Dream steps/s on one thread of 64 candidates in 16 episodes, by worker and round; the workers take turns."""
    torch.set_num_threads(1)
    rates: list[list[float]] = [[] for _ in workers]
    for turn in range(rounds + 1):
        for (worker, job), measured in zip(workers, rates, strict=True):
            started = time.perf_counter()
            steps = int(worker.run(job).lengths.sum())
            if turn:  # the first compiles
                measured.append(steps / (time.perf_counter() - started))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("results") / "dynamics-comparison.json")
    parser.add_argument("--kinds", nargs="+", default=[*DYNAMICS, SHARED], help="of M, perhaps with settings")
    parser.add_argument("--trainers", nargs="+", default=["cma-es"], choices=TRAINERS)
    parser.add_argument("--epochs", type=int, help="of M; default: the recipe's of the first round")
    parser.add_argument("--generations", type=int, help="of C; default: the recipe's")
    parser.add_argument("--horizon", type=int, help="of the dreams; default: the recipe's")
    parser.add_argument("--episodes", type=int, default=20, help="of C's test")
    parser.add_argument("--planned-episodes", type=int, default=4, help="of a planner's test")
    parser.add_argument("--rounds", type=int, default=5, help="of the dream's speed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    env, device = vae_checkpoint(options.run).info["env"], choose_device(options.device)
    latents, _ = ensure_latents(options.run, RolloutDataset(options.data), device)
    recipe = find_recipe(DEFAULT_PRESET, env).adapted(seed=options.seed)
    rows, workers, chosen = [], [], {}
    for kind in options.kinds:
        dynamics, _, mixture = kind.partition("+")
        given = {"epochs": options.epochs, "dynamics": dynamics, "mixture": mixture or "per-dimension"}
        settings = first_settings(recipe, "train-mdrnn", given)
        run = body(options.run, options.out.with_suffix("") / kind)
        rows.append(measure(settings, options.data, run, options.device))
        rows[-1]["scores"] = {}
        for trainer in options.trainers:
            place = body(run, run.with_name(f"{kind}-{trainer}"), with_m=True)
            rows[-1]["scores"][trainer] = score(trainer, env, options.data, place, options)
        workers.append(make_worker(latents, run, device))
        chosen = asdict(settings)
    for row, rates in zip(rows, dream_speeds(workers, options.rounds), strict=True):
        row["dream_steps_per_second"] = {"median": float(np.median(rates)), "rounds": rates}
        print(
            f"{row['dynamics']:10} {row['mixture']:13} {row['parameters']:7} parameters"
            f"  NLL {row['nll_per_dimension']:.4f}  reward EV {row.get('reward_explained_variance', np.nan):.3f}"
            f"  dream error {row.get('dream_error_50', np.nan):.3f}"
            f"  {row['dream_steps_per_second']['median']:,.0f} dream steps/s  {row['training_seconds']:.0f} s  "
            + "  ".join(f"{name} {each['mean']:.0f} +- {each['std']:.0f}" for name, each in row["scores"].items())
        )
    config = {name: value for name, value in chosen.items() if name not in ("dynamics", "mixture")}
    result = {"env": env, "rows": rows, "config": config, "device": str(device), "versions": versions()}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
