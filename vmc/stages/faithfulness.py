"""The faithfulness of a run's dream: M against recorded episodes, and controllers in both worlds."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vmc.control.loop import means_folder
from vmc.control.real_fitness import EpisodeWorker, RealFitness
from vmc.episode import Limits
from vmc.errors import VmcError
from vmc.executors import Workers, make_executor
from vmc.models.agent import load_body
from vmc.models.checkpoints import TRAIN_CONTROLLER, controller_folder, load_controller
from vmc.models.dynamics.contract import SequenceBatch, WorldModel
from vmc.models.loading import load_dynamics
from vmc.seeding import env_seed, stream, torch_stream
from vmc.stages.device import choose_device
from vmc.stages.dreaming import DreamSource, dream_fitness
from vmc.stages.dynamics_report import open_loop, spread
from vmc.stages.encode import ensure_latents
from vmc.stages.episode_batches import sequences_of
from vmc.stages.evaluate import dream_settings
from vmc.stages.settings import FaithfulnessSettings
from vmc.storage.checkpoint import load_checkpoint, versions
from vmc.storage.files import write_json
from vmc.storage.rollouts import RolloutDataset

REPORT = "faithfulness.json"
_OPEN_LOOP_STEPS = 200
_BINS = 10


def measure_faithfulness(
    settings: FaithfulnessSettings, data: Path, run: Path, device_name: str, workers: Workers
) -> dict[str, Any]:
    """Measures on validation episodes and on validation tracks, and writes `faithfulness.json`.

    Returns:
        What was written: `open_loop` (error of z against the horizon), `reward` and `termination` (what M says
        against what happened, in bins), `gap` (controllers in the dream and in the real
        environment, and their rank correlation).

    Raises:
        VmcError: V, M or the means of a search are missing, or they do not belong together.
    """
    device = choose_device(device_name)
    latents, vae = ensure_latents(run, RolloutDataset(data), device)
    dynamics, checkpoint = load_dynamics(run, vae)
    dynamics.to(device)
    sequences = sequences_of(checkpoint, latents, device)
    generator = torch_stream(settings.seed, "faithfulness", device=device.type)
    batches = [sequences.batch(np.array([episode]), generator) for episode in latents.validation()]
    report = {
        "open_loop": _open_loop_curves(dynamics, batches, stream(settings.seed, "faithfulness")),
        **_calibration(dynamics, batches),
        "gap": _gap(settings, data, run, device_name, workers),
        "config": asdict(settings),
        "versions": versions(),
    }
    write_json(run / REPORT, report)
    return report


def _open_loop_curves(
    dynamics: WorldModel, batches: list[SequenceBatch], rng: np.random.Generator
) -> dict[str, Any] | None:
    """Root mean squared error of z after each number of steps; None where the episodes are too short."""
    loop = open_loop(dynamics, batches, _OPEN_LOOP_STEPS, rng)
    if loop is None:
        return None
    return {
        "dream": np.sqrt(loop.dream_errors.mean(axis=0)).tolist(),
        "copy": np.sqrt(loop.copy_errors.mean(axis=0)).tolist(),
        "spread": spread(dynamics, batches),
        "dreamed_rewards": loop.dreamed_rewards.tolist(),
        "recorded_rewards": loop.recorded_rewards.tolist(),
    }


@torch.no_grad()
def _calibration(dynamics: WorldModel, batches: list[SequenceBatch]) -> dict[str, Any]:
    """M's expected reward and its probability of termination one step ahead, against what happened."""
    rewards, terminations = [], []
    for batch in batches:
        prediction, _ = dynamics.predict(batch, dynamics.initial(batch.latents[:, 0]))
        rewards.append(torch.stack([prediction.rewards[0], batch.rewards[0]]))
        terminations.append(torch.stack([prediction.terminations[0], batch.terminations[0]]))
    return {
        name: _binned(*torch.cat(pairs, dim=1).cpu().numpy())
        for name, pairs in (("reward", rewards), ("termination", terminations))
    }


def _binned(said: npt.NDArray[np.float32], happened: npt.NDArray[np.float32]) -> dict[str, list[float]]:
    """Means of both in bins of equal numbers of steps, ordered by what was said."""
    parts = np.array_split(np.argsort(said, kind="stable"), _BINS)
    return {
        "said": [float(said[part].mean()) for part in parts if len(part)],
        "happened": [float(happened[part].mean()) for part in parts if len(part)],
    }


def _gap(settings: FaithfulnessSettings, data: Path, run: Path, device_name: str, workers: Workers) -> dict[str, Any]:
    """The same controllers, saved along the search, in the dream and on real tracks that no test uses."""
    generations, parameters = _saved_means(run, settings.controllers)
    seeds = [env_seed(settings.seed, "validation", episode) for episode in range(settings.episodes)]
    dream_seeds = [env_seed(settings.seed, "validation", episode) for episode in range(settings.dreams)]
    body = load_body(run, settings.env)
    controller = load_controller(run, body.vae, body.dynamics)
    shape, dream = controller.settings, dream_settings(settings, controller)
    source = DreamSource(settings.env, data, run, shape, settings.seed)
    with dream_fitness(source, dream, device_name, workers=0) as (_, validation):
        dreamed = validation.evaluate(parameters, dream_seeds).returns
    with closing(make_executor(partial(EpisodeWorker, body, settings.env, shape), workers)) as executor:
        real = RealFitness(executor, Limits(settings.max_steps)).evaluate(parameters, seeds).returns
    return {
        "generations": generations,
        "dream": dreamed.mean(axis=1).tolist(),
        "dream_error": _standard_errors(dreamed),
        "real": real.mean(axis=1).tolist(),
        "real_error": _standard_errors(real),
        "rank_correlation": rank_correlation(dreamed.mean(axis=1), real.mean(axis=1)),
    }


def _saved_means(run: Path, most: int) -> tuple[list[int], npt.NDArray[np.float64]]:
    """Up to `most` means of the search, evenly spaced over it: generations and parameters (P, N)."""
    folder = means_folder(controller_folder(run))
    names = sorted(path.stem for path in folder.glob("*.json"))
    if len(names) < 2:
        raise VmcError(f"{folder} holds {len(names)} controllers, not 2 or more.", f"Run `{TRAIN_CONTROLLER}` first.")
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, most).astype(int))]
    parameters = [load_checkpoint(folder, name, TRAIN_CONTROLLER).weights["parameters"] for name in chosen]
    return [int(name) for name in chosen], np.stack(parameters)


def _standard_errors(returns: npt.NDArray[np.float64]) -> list[float]:
    return (returns.std(axis=1, ddof=1) / np.sqrt(returns.shape[1])).tolist()  # type: ignore[no-any-return]


def rank_correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Spearman's: the correlation of the ranks (no ties among means of returns)."""
    first, second = (np.argsort(np.argsort(values)) for values in (a, b))
    return float(np.corrcoef(first, second)[0, 1])
