"""A small trial of every stage on any environment: the rates that an estimate of a whole run needs."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import closing, redirect_stderr
from functools import partial
from io import StringIO
from math import ceil, inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vmc.bench.rates import Rates
from vmc.control.real_fitness import EpisodeJob, EpisodeWorker
from vmc.dream.settings import DreamSettings
from vmc.envs import check_env, get_task
from vmc.episode import Limits
from vmc.executors import make_executor, num_workers
from vmc.models.agent import Body, load_body
from vmc.models.checkpoints import dynamics_folder, vae_folder
from vmc.models.controller import LinearSettings
from vmc.pipeline import PipelineSettings
from vmc.policies import POLICIES
from vmc.recipes import first_settings
from vmc.stages.collect import collect
from vmc.stages.device import choose_device
from vmc.stages.dreaming import DreamSource, dream_fitness
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.stages.train_vae import train_vae
from vmc.storage.metrics import read_metrics
from vmc.storage.rollouts import RolloutDataset

# Enough that batches are full, and few enough that the trial takes a minute.
_EPISODES, _MOST_EPISODES, _FRAMES, _STEPS = 20, 200, 3000, 200
_EPOCHS = 3
_POPULATION, _ROLLOUTS, _HORIZON = 64, 16, 50
_SECONDS = 2.0


class _Trial(NamedTuple):
    """A run in a folder that is removed at the end."""

    settings: PipelineSettings
    data: Path
    run: Path

    def stage(self, name: str, **given: Any) -> Any:
        """The recipe's settings of a stage, with other values in place."""
        return first_settings(self.settings.recipe, name, given)


def measure_stages(settings: PipelineSettings) -> Rates:
    """Collects a few episodes by a policy without a model, trains V and M on them for a few epochs, drives, dreams.

    Raises:
        VmcError: an environment that does not fit, or a kind of model that there is not.
    """
    check_env(str(settings.recipe.env))  # tells what it compiles
    processes = max(num_workers(settings.workers), 1)
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):  # no progress in the table
        trial = _Trial(settings, Path(folder) / "data", Path(folder) / "run")
        rate, length = _collect(trial)
        dataset = RolloutDataset(trial.data)
        frames, size = dataset.num_frames, dataset.frame_kind
        on_disk = sum(path.stat().st_size for path in trial.data.glob("*.h5"))
        train_vae(trial.stage("train-vae", epochs=_EPOCHS, patience=_EPOCHS), trial.data, trial.run, settings.device)
        dynamics = trial.stage("train-mdrnn", epochs=_EPOCHS, patience=_EPOCHS)
        train_mdrnn(dynamics, trial.data, trial.run, settings.device)
        search = trial.stage("train-controller", generations=1)
        inputs = search.inputs or get_task(search.env).controller_inputs
        body = load_body(trial.run, search.env)
        shape = body.controller_shape(inputs, search.hidden_units)
        latent_size = get_task(search.env).latent_size
        return Rates(
            collect=rate * processes,
            drive=_drive(body, shape, search.env) * processes,
            vae=_training_rate(vae_folder(trial.run), frames),
            mdrnn=_training_rate(dynamics_folder(trial.run), frames),
            dream=_dream(trial, shape, processes),
            frame_bytes=on_disk / frames,
            memory_bytes=float(np.prod(size.shape) * np.dtype(size.dtype).itemsize),
            latent_bytes=4.0 * (2 * latent_size + shape.action_size + 1),
            random_length=length,
        )


def _collect(trial: _Trial) -> tuple[float, float | None]:
    """Steps/s in one process, and the mean length of an episode; None if the trial's own limit cut some."""
    policy = trial.stage("rollouts", episodes=1).policy
    given: dict[str, Any] = {"policy": policy if policy in POLICIES else "brownian", "max_steps": _STEPS}
    first = collect(trial.stage("rollouts", episodes=_EPISODES, **given), trial.data, None, 0)
    wanted = min(ceil(_FRAMES * _EPISODES / max(first.added_steps, 1)), _MOST_EPISODES)
    done = collect(trial.stage("rollouts", episodes=max(wanted, _EPISODES), **given), trial.data, None, 0)
    steps, seconds = first.added_steps + done.added_steps, first.seconds + done.seconds
    lengths = [episode.length for episode in RolloutDataset(trial.data).episodes]
    return steps / seconds, None if max(lengths) >= _STEPS else float(np.mean(lengths))


def _training_rate(folder: Path, frames: int) -> float:
    """Frames/s of all epochs but the first, validation included; infinite where there is nothing to train."""
    seconds = {line["step"]: line["seconds"] for line in read_metrics(folder)}
    epochs = max(seconds) - 1
    return 0.9 * frames * epochs / (seconds[max(seconds)] - seconds[1]) if epochs > 0 else inf


def _drive(body: Body, shape: LinearSettings, env: str) -> float:
    """Steps/s of the environment with V, M and C in the loop, in one process."""
    candidate, limits = np.zeros(shape.num_parameters), Limits(_STEPS)
    with closing(make_executor(partial(EpisodeWorker, body, env, shape), 0)) as executor:
        return _rate(
            lambda number: sum(
                result.episode_length for _, result in executor.map([EpisodeJob(candidate, number, limits)])
            )
        )


def _dream(trial: _Trial, shape: LinearSettings, processes: int) -> float:
    """Dream steps/s: on the processor, each process with one thread."""
    recipe, on_gpu = trial.settings.recipe, choose_device(trial.settings.device).type != "cpu"
    source = DreamSource(str(recipe.env), trial.data, trial.run, shape, recipe.seed)
    candidates = np.zeros((_POPULATION, shape.num_parameters))
    with dream_fitness(source, DreamSettings(horizon=_HORIZON), trial.settings.device, 0) as (fitness, _):

        def dream(number: int) -> int:
            seeds = range(number * _ROLLOUTS, (number + 1) * _ROLLOUTS)
            return int(fitness.evaluate(candidates, seeds).lengths.sum())

        dream(0)  # makes the worker, which sets the threads
        threads = torch.get_num_threads()
        torch.set_num_threads(threads if on_gpu else 1)
        rate = _rate(dream)
        torch.set_num_threads(threads)
    return rate * (1 if on_gpu else processes)


def _rate(work: Callable[[int], int]) -> float:
    """Units/s of a piece of work, which is done again and again, each time with the next number."""
    work(0)  # what is made or compiled at the first time
    started, done, number = time.perf_counter(), 0, 0
    while time.perf_counter() - started < _SECONDS:
        number += 1
        done += work(number)
    return done / (time.perf_counter() - started)
