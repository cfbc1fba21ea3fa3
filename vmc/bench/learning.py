"""What training costs, against the machine's measured GEMM rate."""

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
from vmc.bench.models import make_latents
from vmc.config import make_settings
from vmc.dream.linear import PackedLinear
from vmc.envs import CARRACING, FRAME_SHAPE
from vmc.models.loading import make_vision
from vmc.stages.settings import TrainMDRNNSettings, TrainVAESettings
from vmc.stages.train_mdrnn import DynamicsTraining
from vmc.stages.train_vae import VAETraining
from vmc.storage.frames import FramesInMemory

_GEMM_SIZE = 1024
_BATCHES = 8
_EPISODES, _EPISODE_LENGTH = 16, 512


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
    vae = make_vision("conv", CARRACING, FRAME_SHAPE)
    training = VAETraining(settings, vae, FramesInMemory(frames, settings.batch_size, 0), frames, device)
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
    training = DynamicsTraining(settings, make_latents(_EPISODES + 1, _EPISODE_LENGTH), device)
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
