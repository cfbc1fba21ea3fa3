"""Stage `test`: a trained C on episodes that nothing was trained on, in reality or in the dream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from vmc.dream.world import DreamSettings
from vmc.envs import check_env
from vmc.episode import Limits
from vmc.evolution.real import EpisodeJob, EpisodeWorker
from vmc.executors import make_executor
from vmc.models.checkpoints import dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.progress import Progress
from vmc.seeding import env_seed
from vmc.stages.dreaming import make_dream_fitness
from vmc.stages.settings import TestSettings
from vmc.storage.checkpoint import versions
from vmc.storage.files import write_json


def test_controller(
    settings: TestSettings, data: Path, run: Path, device_name: str, num_workers: int
) -> dict[str, Any]:
    """Scores the run's best C and writes `test.json` (`test-dream.json` for a dream).

    Returns:
        What was written: every episode's seed, return and length; mean, std, ci95, min, max.

    Raises:
        VmcError: V, M or C missing, corrupt or strangers to each other.
    """
    started = time.monotonic()
    check_env(settings.env)
    vae = vae_checkpoint(run)
    _, parameters, checkpoint = load_controller(run, vae, dynamics_checkpoint(run, vae))
    seeds = [env_seed(settings.seed, "test", episode) for episode in range(settings.episodes)]
    score = _in_the_dream if settings.dream else _in_reality
    episodes = score(settings, data, run, device_name, num_workers, parameters, seeds)
    result = {
        "env": settings.env,
        "episodes": episodes,
        **summary([episode["episode_return"] for episode in episodes]),
        "dream": settings.dream,
        "temperature": settings.temperature if settings.dream else None,
        "controller": checkpoint.sha256,
        "seconds": round(time.monotonic() - started, 3),
        "config": asdict(settings),
        "versions": versions(),
    }
    write_json(run / ("test-dream.json" if settings.dream else "test.json"), result)
    return result


test_controller.__test__ = False  # type: ignore[attr-defined]


def summary(returns: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (of the sample), normal 95% interval of the mean, min and max."""
    mean, std = float(np.mean(returns)), float(np.std(returns, ddof=1))
    half = 1.96 * std / sqrt(len(returns))
    spread = {"std": std, "ci95": [mean - half, mean + half]}
    return {"mean": mean, **spread, "min": float(min(returns)), "max": float(max(returns))}


def _in_reality(
    settings: TestSettings,
    data: Path,
    run: Path,
    device_name: str,
    num_workers: int,
    parameters: Any,
    seeds: list[int],
) -> list[dict[str, Any]]:
    limits = Limits(max_steps=settings.max_steps)
    jobs = [EpisodeJob(parameters, seed, limits) for seed in seeds]
    returns, lengths = np.zeros(len(jobs)), np.zeros(len(jobs), int)
    done: list[float] = []
    make_worker = partial(EpisodeWorker, run, settings.env)
    with (
        closing(make_executor(make_worker, num_workers)) as executor,
        Progress("test", len(jobs), "episodes") as progress,
    ):
        for position, outcome in executor.map(jobs):
            returns[position], lengths[position] = outcome.episode_return, outcome.episode_length
            done.append(outcome.episode_return)
            progress.advance(1, mean_return=float(np.mean(done)))
    return _rows(seeds, returns, lengths)


def _in_the_dream(
    settings: TestSettings,
    data: Path,
    run: Path,
    device_name: str,
    num_workers: int,
    parameters: Any,
    seeds: list[int],
) -> list[dict[str, Any]]:
    dream = DreamSettings(settings.temperature, settings.horizon)
    fitness = make_dream_fitness(settings.env, data, run, dream, device_name, held_out=True)
    scores = fitness.evaluate(parameters[None], seeds)
    return _rows(seeds, scores.returns[0], scores.lengths[0])


def _rows(seeds: list[int], returns: Any, lengths: Any) -> list[dict[str, Any]]:
    rows = zip(seeds, returns, lengths, strict=True)
    return [{"seed": s, "episode_return": float(r), "episode_length": int(n)} for s, r, n in rows]
