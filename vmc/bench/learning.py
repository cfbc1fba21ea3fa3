"""What training and dreaming cost, against the machine's measured GEMM rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vmc.bench.contest import Entry, Result, compare
from vmc.bench.models import ACTION_SIZE, CONTROLLER, make_models
from vmc.config import make_settings
from vmc.dream.linear import PackedLinear
from vmc.dream.starts import record_starts
from vmc.dream.world import DreamSettings, DreamWorld
from vmc.envs import CARRACING, ActionSquash
from vmc.evolution.dreamed import DreamJob, DreamWorker
from vmc.models.controller import controller_outputs
from vmc.stages.settings import TrainMDRNNSettings, TrainVAESettings
from vmc.stages.train_mdrnn import DynamicsTraining
from vmc.stages.train_vae import VAETraining
from vmc.storage.frames import FramesInMemory
from vmc.storage.latents import Latents

_GEMM_SIZE = 1024
_BATCHES = 8
_EPISODES, _EPISODE_LENGTH = 16, 512
_POPULATION, _ROLLOUTS = 64, 16


def gemm_rate(device: torch.device) -> float:
    """Floating-point operations/s of a float32 product of two 1024x1024 matrices, on the threads in use.

    The faster of PyTorch's two ways to compute it.
    """
    a = torch.rand(_GEMM_SIZE, _GEMM_SIZE, device=device)
    packed = PackedLinear(a, a[0])
    return max(_product_rate(partial(torch.matmul, a, a)), _product_rate(partial(packed, a)))


def _product_rate(product: Callable[[], torch.Tensor]) -> float:
    product()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 0.2:
        product()[0, 0].item()  # waits for a GPU
        count += 1
    return 2 * _GEMM_SIZE**3 * count / (time.perf_counter() - started)


def bench_vae(rounds: int, device: torch.device) -> list[Result]:
    """Frames/s of V's training with its loader, against the same updates on one batch that is already there."""
    settings = make_settings(TrainVAESettings, CARRACING, {"epochs": 1})
    frames = np.random.default_rng(0).integers(0, 256, (settings.batch_size * _BATCHES, 64, 64, 3), np.uint8)
    training = VAETraining(settings, FramesInMemory(frames, settings.batch_size, 0), frames, device)
    batch = torch.from_numpy(frames[: settings.batch_size]).to(device)
    noise = torch.zeros(len(batch), training.module.settings.latent_size, device=device)

    def update() -> None:
        training.train_batch((batch, noise))

    operations = _operations(update) / settings.batch_size
    entries = [
        Entry("no loading", partial(_repeat, update, _BATCHES, len(frames)), operations),
        Entry("vmc train-vae", partial(_drain, training, _BATCHES, len(frames)), operations),
    ]
    return compare("V training", "frames", entries, rounds, partial(gemm_rate, device))


def bench_mdrnn(rounds: int, device: torch.device) -> list[Result]:
    """Steps/s of M's training with drawing z and padding, against the same updates on one batch."""
    settings = make_settings(TrainMDRNNSettings, CARRACING, {"epochs": 1, "batch_size": _EPISODES})
    training = DynamicsTraining(settings, _latents(_EPISODES + 1), device)
    steps = _EPISODES * _EPISODE_LENGTH
    batch = training.batch(0, 0)

    def update() -> None:
        training.train_batch(batch)

    m = training.module.settings
    # Multiply-adds of the LSTM's gates and of the heads; the backward pass costs twice the forward.
    gates = 4 * m.hidden_size * (m.latent_size + m.action_size + m.hidden_size)
    heads = m.hidden_size * (3 * m.latent_size * m.num_mixtures + 2)
    operations = 3 * 2 * (gates + heads)
    entries = [
        Entry("no loading", partial(_repeat, update, 1, steps), operations),
        Entry("vmc train-mdrnn", partial(_drain, training, 1, steps), operations),
    ]
    return compare("M training", "steps", entries, rounds, partial(gemm_rate, device))


def bench_dream(rounds: int, device: torch.device) -> list[Result]:
    """Dream steps/s: 64 candidates x 16 rollouts as a batch, against one dream at a time."""
    horizon = 32
    worker = _dream(horizon, device)
    candidates = np.zeros((_POPULATION, CONTROLLER.num_parameters))
    m = make_models()[1].settings
    operations = 2 * (4 * m.hidden_size * (m.latent_size + m.action_size + m.hidden_size))
    operations += 2 * (m.hidden_size * (3 * m.latent_size * m.num_mixtures + 2) + CONTROLLER.num_parameters)

    def batched() -> int:
        return int(worker.run(DreamJob(candidates, range(_ROLLOUTS), held_out=False)).lengths.sum())

    entries = [
        Entry("one at a time, eager PyTorch", partial(_dream_alone, 300, device), operations),
        Entry("64 x 16 as a batch (vmc)", batched, operations),
    ]
    return compare("dream", "steps", entries, rounds, partial(gemm_rate, device))


def _repeat(update: Callable[[], None], times: int, units: int) -> int:
    for _ in range(times):
        update()
    return units


def _drain(training: Any, batches: int, units: int) -> int:
    for batch in islice(training.batches(0, 0), batches):
        training.train_batch(batch)
    return units


def _operations(work: Callable[[], None]) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def _latents(episodes: int) -> Latents:
    """Made-up latent episodes of one length; the fourth is held out, as ever."""
    rng = np.random.default_rng(0)
    frames, steps = episodes * (_EPISODE_LENGTH + 1), episodes * _EPISODE_LENGTH
    shapes = ((frames, CONTROLLER.latent_size), (frames, CONTROLLER.latent_size), (steps, ACTION_SIZE), (steps,))
    means, log_variances, actions, rewards = (rng.standard_normal(shape, np.float32) for shape in shapes)
    lengths = np.full(episodes, _EPISODE_LENGTH)
    ends = np.zeros(episodes, bool)
    return Latents(means, log_variances, actions, rewards, np.arange(episodes), lengths, ends)


def _dream(horizon: int, device: torch.device) -> DreamWorker:
    _, dynamics = make_models()
    with torch.no_grad():
        dynamics.termination.bias.fill_(-50.0)  # no dream ends early, so that the batches stay full
    dynamics.to(device)
    starts = record_starts(dynamics, _latents(2), np.array([0]), sample_latents=True, seed=0)
    squash = ActionSquash.from_bounds([-1] * ACTION_SIZE, [1] * ACTION_SIZE)
    return DreamWorker(DreamWorld(dynamics, DreamSettings(horizon=horizon)), starts, starts, CONTROLLER, squash)


@torch.no_grad()
def _dream_alone(steps: int, device: torch.device) -> int:
    """One dream as one would first write it: torch.distributions and the module's own forward."""
    _, dynamics = make_models()
    dynamics.to(device)
    hidden = dynamics.initial_hidden(1)
    latent = torch.zeros(1, CONTROLLER.latent_size, device=device)
    parameters = torch.zeros(1, CONTROLLER.num_parameters, device=device)
    for _ in range(steps):
        action = controller_outputs(CONTROLLER, parameters, latent[None], hidden.h[None])[0].tanh()
        prediction, hidden = dynamics(latent[:, None], action[:, None], hidden)
        mixture = prediction.mixture
        component = torch.distributions.Categorical(logits=mixture.log_weights).sample()[..., None]
        mean, log_std = (field.gather(-1, component).squeeze(-1) for field in (mixture.means, mixture.log_stds))
        latent = torch.distributions.Normal(mean, log_std.exp()).sample()[:, 0]
        if torch.sigmoid(prediction.termination_logit).item() > 2:
            break
    return steps
