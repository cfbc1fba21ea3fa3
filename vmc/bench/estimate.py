"""`vmc run --estimate`: what a run would cost on this machine, from a few seconds of each kind of its work."""

from __future__ import annotations

import sys
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
from vmc.bench.rates import Rates
from vmc.bench.trial import measure_stages
from vmc.config import make_settings
from vmc.control.racing import race_episodes
from vmc.control.selection import num_episodes
from vmc.envs import CARRACING, check_env, make_env
from vmc.executors import available_cores, num_workers
from vmc.pipeline import PipelineSettings
from vmc.policies import POLICIES
from vmc.recipes import due_stages
from vmc.stages.collect import collect
from vmc.stages.device import choose_device
from vmc.stages.settings import CollectSettings

_STEPS = 300
# Steps of an episode where neither the environment nor the trial ends one.
_NO_LIMIT = 1000


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
    check_env(CARRACING)  # tells what it compiles, and does not count it
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
    """The pipeline's cost if every episode of C lasted to its time limit and no stage stopped early.

    Args:
        rates: measured now, where they are not given.

    Raises:
        VmcError: as `measure_stages`.
    """
    env = str(settings.recipe.env)
    if rates is None:
        print("First this machine is measured: about a minute. Nothing is kept.", file=sys.stderr, flush=True)
        is_carracing = env == CARRACING
        workers = num_workers(settings.workers)
        rates = measure_rates(workers, settings.device) if is_carracing else measure_stages(settings)
    limit = _time_limit(env, rates)
    costs, episodes, frames, real_frames = [], 0, 0.0, 0.0
    held_in_memory = 0.0
    for number, stage, chosen in due_stages(settings.recipe):
        steps = min(getattr(chosen, "max_steps", None) or limit, limit)
        if stage == "rollouts":
            length = min(rates.random_length or steps, steps) if chosen.policy in POLICIES else steps
            added = (chosen.episodes - episodes) * length
            episodes, frames = chosen.episodes, frames + added
            real_frames += added
            costs.append(Cost(number, stage, added, "frames", added / rates.collect))
        elif stage == "train-vae":
            work = 0.9 * frames * chosen.epochs
            held_in_memory = max(held_in_memory, min(0.9 * frames * rates.memory_bytes, chosen.memory_gib * 2**30))
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
    latents = frames * rates.latent_bytes
    return Estimate(costs, real_frames, frames * rates.frame_bytes + latents, max(held_in_memory, latents))


def _time_limit(env: str, rates: Rates) -> float:
    """Steps of the longest episode; where the environment has no limit, those of the trial's episodes."""
    if env == CARRACING:  # is not made for this: the fast one would be compared with the official one
        limit = gym.spec(CARRACING).max_episode_steps
    else:
        made = make_env(env)
        limit = made.spec.max_episode_steps if made.spec else None
        made.close()
    return float(limit or rates.random_length or _NO_LIMIT)


def _search_cost(number: int, chosen: Any, steps: float, rates: Rates) -> tuple[Cost, float]:
    """C's search, and the real frames that it takes."""
    evaluations = chosen.validation_episodes * (1 + chosen.generations // chosen.validate_every)
    evaluations += num_episodes(chosen.final_candidates, chosen.final_episodes)
    if not chosen.dream:
        work = (chosen.generations * _episodes_of_generation(chosen) + evaluations) * steps
        return Cost(number, "train-controller", work, "frames", work / rates.drive), work
    dreamed = chosen.generations * _episodes_of_generation(chosen) * chosen.horizon
    if chosen.trainer == "actor-critic":
        dreamed = chosen.generations * chosen.updates * chosen.imagined_dreams * chosen.imagined_steps
    real = evaluations * steps if chosen.validate_in == "real" else 0
    seconds = dreamed / rates.dream + real / rates.drive
    return Cost(number, "train-controller", dreamed, "dream steps", seconds), real


def _episodes_of_generation(chosen: Any) -> int:
    if chosen.trainer == "cma-es":
        raced = race_episodes(chosen.population_size, chosen.rollouts_per_candidate, chosen.halvings)
        return raced + chosen.screened_episodes  # type: ignore[no-any-return]
    return chosen.rollouts if chosen.trainer == "ppo" else 0


def _frame_bytes() -> float:
    """Bytes on the disk for each frame of an episode."""
    settings = make_settings(CollectSettings, CARRACING, {"episodes": 1, "max_steps": _STEPS})
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):  # no progress in the table
        done = collect(settings, Path(folder), None, 0)
        return sum(path.stat().st_size for path in Path(folder).glob("*.h5")) / done.num_frames
