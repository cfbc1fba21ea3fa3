"""`vmc run --estimate`: what a run would cost on this machine, from a few seconds of each kind of its work."""

from __future__ import annotations

import tempfile
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import gymnasium as gym

from vmc.bench.dreaming import bench_dream
from vmc.bench.driving import bench_collection, bench_workers
from vmc.bench.learning import bench_mdrnn, bench_vae
from vmc.bench.models import ACTION_SIZE, LATENT_SIZE
from vmc.config import make_settings
from vmc.envs import CARRACING
from vmc.errors import VmcError
from vmc.executors import available_cores
from vmc.pipeline import PipelineSettings
from vmc.recipes import due_stages
from vmc.stages.collect import collect
from vmc.stages.device import choose_device
from vmc.stages.settings import CollectSettings

_STEPS = 300
_LATENT_BYTES = 4 * (2 * LATENT_SIZE + ACTION_SIZE + 1)
_FRAME_BYTES = 64 * 64 * 3


@dataclass(frozen=True)
class Rates:
    """What this machine does, each measured for a few seconds.

    Attributes:
        collect, drive: environment steps/s on all workers, trajectory, and with V, M and C in the loop.
        vae: frames/s in training. mdrnn: steps/s in training. dream: steps/s on all workers.
        frame_bytes: of a frame on the disk.
    """

    collect: float
    drive: float
    vae: float
    mdrnn: float
    dream: float
    frame_bytes: float


@dataclass(frozen=True)
class Cost:
    """A stage of a round: what it works through, and for how long."""

    round: int
    stage: str
    work: float
    unit: str
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The whole run.

    Attributes:
        costs: a row for each stage of each round.
        real_frames: steps of the real environment.
        disk, memory: bytes; memory is that of the largest array held (frames for V, or latents for M).
    """

    costs: list[Cost]
    real_frames: float
    disk: float
    memory: float


def measure_rates(workers: int, device_name: str) -> Rates:
    """Measures all rates on CarRacing with untrained models, whose speed is that of trained ones; under a minute."""
    device = choose_device(device_name)
    driving = [*bench_workers(1, _STEPS), *bench_collection(1, _STEPS)]
    learning = [*bench_vae(1, device), *bench_mdrnn(1, device), *bench_dream(1, device)]
    rates = {result.name: result.rate for result in (*driving, *learning)}
    processes = max(workers, 1)
    return Rates(
        collect=rates["vmc rollouts"] * processes,
        drive=rates["one worker"] * processes,
        vae=rates["vmc train-vae"],
        mdrnn=rates["vmc train-mdrnn"],
        dream=rates["64 x 16, processes (vmc)"] * processes / available_cores(),
        frame_bytes=_frame_bytes(),
    )


def estimate_run(settings: PipelineSettings, rates: Rates | None = None) -> Estimate:
    """What the pipeline would cost if every episode lasted to its time limit and no stage stopped early.

    Args:
        rates: measured now, where they are not given.

    Raises:
        VmcError: an environment other than CarRacing, whose speed is not known here.
    """
    env = settings.recipe.env
    if env != CARRACING:
        raise VmcError(f"The estimate knows {CARRACING} only, not {env}.", "Run `--preset smoke` and scale.")
    rates = rates or measure_rates(settings.workers, settings.device)
    limit = gym.spec(CARRACING).max_episode_steps
    assert limit is not None
    costs, episodes, frames, real_frames = [], 0, 0.0, 0.0
    held_in_memory = 0.0
    for number, stage, chosen in due_stages(settings.recipe):
        steps = getattr(chosen, "max_steps", None) or limit
        if stage == "rollouts":
            added = (chosen.episodes - episodes) * steps
            episodes, frames = chosen.episodes, frames + added
            real_frames += added
            costs.append(Cost(number, stage, added, "frames", added / rates.collect))
        elif stage == "train-vae":
            work = 0.9 * frames * chosen.epochs
            held_in_memory = max(held_in_memory, min(0.9 * frames * _FRAME_BYTES, chosen.memory_gib * 2**30))
            costs.append(Cost(number, stage, work, "frames", work / rates.vae))
        elif stage == "train-mdrnn":
            work = 0.9 * frames * chosen.epochs
            costs.append(Cost(number, stage, work, "steps", work / rates.mdrnn))
        elif stage == "train-controller":
            cost, real = _search_cost(number, chosen, steps, rates)
            real_frames += real
            costs.append(cost)
        else:
            work = chosen.episodes * steps
            costs.append(Cost(number, stage, work, "frames", work / rates.drive))
    latents = frames * _LATENT_BYTES
    return Estimate(costs, real_frames, frames * rates.frame_bytes + latents, max(held_in_memory, latents))


def _search_cost(number: int, chosen: Any, steps: int, rates: Rates) -> tuple[Cost, float]:
    """C's search, and the real frames that it takes."""
    per_generation = chosen.population_size * chosen.rollouts_per_candidate
    evaluations = chosen.validation_episodes * (1 + chosen.generations // chosen.validate_every)
    if not chosen.dream:
        work = (chosen.generations * per_generation + evaluations) * steps
        return Cost(number, "train-controller", work, "frames", work / rates.drive), work
    dreamed = chosen.generations * per_generation * chosen.horizon
    real = evaluations * steps if chosen.validate_in == "real" else 0
    seconds = dreamed / rates.dream + real / rates.drive
    return Cost(number, "train-controller", dreamed, "dream steps", seconds), real


def _frame_bytes() -> float:
    """Bytes on the disk for each frame of an episode."""
    settings = make_settings(CollectSettings, CARRACING, {"episodes": 1, "max_steps": _STEPS})
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):  # no progress in the table
        done = collect(settings, Path(folder), None, 0)
        return sum(path.stat().st_size for path in Path(folder).glob("*.h5")) / done.num_frames
