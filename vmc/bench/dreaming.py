"""The dream's speed, against stepping one at a time, against real episodes, and against the GEMM rate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vmc.bench.floors import gemm
from vmc.bench.interleaved import Entry, Result, compare
from vmc.bench.models import (
    ACTION_MAP,
    CONTROLLER,
    LATENT_SIZE,
    head_operations,
    make_dynamics_of,
    make_latents,
    make_models,
    make_run,
    recurrence_operations,
    step_operations,
)
from vmc.control.dream_fitness import DreamFitness, DreamJob, DreamWorker, draw_starts
from vmc.control.real_fitness import EpisodeJob, EpisodeWorker
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts, record_starts
from vmc.dream.world import DreamWorld
from vmc.envs import CARRACING
from vmc.episode import Limits
from vmc.executors import available_cores, make_executor
from vmc.models.agent import load_body
from vmc.models.controller import population_outputs
from vmc.models.dynamics.contract import WorldModel
from vmc.models.dynamics.state import State

_POPULATION, _ROLLOUTS, _HORIZON = 64, 16, 64
_KINDS = ("lstm", "gru", "transformer,context=32", "rssm")
_CANDIDATES = np.zeros((_POPULATION, CONTROLLER.num_parameters))


def bench_dream(rounds: int, device: torch.device) -> list[Result]:
    """Dream steps/s: 64 candidates x 16 rollouts."""
    return _bench_batch(rounds, device) + _bench_kinds(rounds, device) + _bench_cores(rounds, device)


def _bench_batch(rounds: int, device: torch.device) -> list[Result]:
    """On one core (or a GPU): a batch against one dream at a time."""
    _, dynamics = make_models()
    operations = recurrence_operations(dynamics) + head_operations(dynamics) + 2 * CONTROLLER.num_parameters
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    entries = [
        Entry("one at a time, eager PyTorch", partial(_dream_alone, 300, device), operations),
        Entry("64 x 16 as a batch (vmc)", partial(_dream_here, _make_worker(device)), operations),
    ]
    results = compare("dream, one core", "steps", entries, rounds, gemm(device))
    torch.set_num_threads(threads)
    return results


def _bench_kinds(rounds: int, device: torch.device) -> list[Result]:
    """On one core (or a GPU): batches of the same size with other kinds of M."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    entries = []
    for kind in _KINDS:
        dynamics = make_dynamics_of(kind)
        operations = step_operations(dynamics) + 2 * CONTROLLER.num_parameters
        entries.append(
            Entry(kind, partial(_dream_here, _worker_of(dynamics, device), _starts_of(dynamics)), operations)
        )
    results = compare("dream, kinds of M", "steps", entries, rounds, gemm(device))
    torch.set_num_threads(threads)
    return results


def _bench_cores(rounds: int, device: torch.device) -> list[Result]:
    """On all cores: real episodes with the fast environment, and the dream on threads and on processes."""
    cores = available_cores()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        make_run(Path(folder))
        make_workers: list[Callable[[], Any]] = [
            partial(EpisodeWorker, load_body(Path(folder), CARRACING), CARRACING, CONTROLLER),
            partial(_make_worker, torch.device("cpu")),
        ]
        real, dream = (stack.enter_context(closing(make_executor(make, cores))) for make in make_workers)
        entries = [
            Entry("real episodes, fast environment", partial(_drive, real, 4 * cores)),
            Entry("64 x 16, threads", partial(_dream_here, _make_worker(device))),
            Entry("64 x 16, processes (vmc)", partial(_dream_there, DreamFitness(dream, _make_starts))),
        ]
        return compare(f"dream, {cores} cores", "steps", entries, rounds)


def _make_worker(device: torch.device) -> DreamWorker:
    return _worker_of(make_models()[1], device)


def _worker_of(dynamics: Any, device: torch.device) -> DreamWorker:
    with torch.no_grad():
        dynamics.termination.bias.fill_(-50.0)  # no dream ends early, so that the batches stay full
    return DreamWorker(DreamWorld(dynamics.to(device)), DreamSettings(horizon=_HORIZON), CONTROLLER, ACTION_MAP)


@cache
def _make_starts() -> DreamStarts:
    return _starts_of(make_models()[1])


def _starts_of(dynamics: WorldModel) -> DreamStarts:
    return record_starts(dynamics, make_latents(2, 512), np.array([0]), sample_latents=True, seed=0)


def _dream_here(worker: DreamWorker, starts: DreamStarts | None = None) -> int:
    seeds = range(_ROLLOUTS)
    drawn = draw_starts(_make_starts() if starts is None else starts, seeds)
    return int(worker.run(DreamJob(_CANDIDATES, seeds, drawn)).lengths.sum())


def _dream_there(fitness: DreamFitness) -> int:
    return int(fitness.evaluate(_CANDIDATES, range(_ROLLOUTS)).lengths.sum())


def _drive(executor: Any, episodes: int) -> int:
    jobs = [EpisodeJob(_CANDIDATES[0], seed, Limits(max_steps=300)) for seed in range(episodes)]
    return sum(outcome.episode_length for _, outcome in executor.map(jobs))


@torch.no_grad()
def _dream_alone(steps: int, device: torch.device) -> int:
    """One dream as one would first write it: torch.distributions and the module's own forward."""
    _, dynamics = make_models()
    dynamics.to(device)
    state = dynamics.initial(torch.zeros(1, LATENT_SIZE, device=device))
    parameters = torch.zeros(1, CONTROLLER.num_parameters, device=device)
    for _ in range(steps):
        action = population_outputs(CONTROLLER, parameters, dynamics.features(state)).tanh()
        latent, *memory = state
        h, last = dynamics.unroll(torch.cat([latent, action], dim=1)[:, None], tuple(memory))
        mixture, _, termination_logit = dynamics.heads(h)
        component = torch.distributions.Categorical(logits=mixture.log_weights).sample()[..., None]
        mean, log_std = (field.gather(-1, component).squeeze(-1) for field in (mixture.means, mixture.log_stds))
        state = State((torch.distributions.Normal(mean, log_std.exp()).sample()[:, 0], *last))
        if torch.sigmoid(termination_logit).item() > 2:
            break
    return steps
