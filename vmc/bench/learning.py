"""The speed of training, against the machine's measured GEMM rate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vmc.bench.floors import gemm
from vmc.bench.interleaved import Entry, Result, compare
from vmc.bench.models import LATENT_SIZE, head_operations, make_latents, make_models, recurrence_operations
from vmc.config import make_settings
from vmc.envs import CARRACING
from vmc.stages.device import one_thread
from vmc.stages.settings import TrainMDRNNSettings, TrainVAESettings
from vmc.stages.train_mdrnn import DynamicsTraining
from vmc.stages.train_vae import VAETraining
from vmc.storage.frames import FramesInMemory

_BATCHES = 8
_EPISODES, _EPISODE_LENGTH = 16, 512


def bench_vae(rounds: int, device: torch.device) -> list[Result]:
    """Frames/s of V's training with its loader, against the same updates on one batch that is already there."""
    settings = make_settings(TrainVAESettings, CARRACING, {"epochs": 1})
    frames = np.random.default_rng(0).integers(0, 256, (settings.batch_size * _BATCHES, 64, 64, 3), np.uint8)
    vae = make_models()[0].train().requires_grad_(True)
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
    return compare("V training", "frames", entries, rounds, gemm(device))


def bench_mdrnn(rounds: int, device: torch.device) -> list[Result]:
    """Steps/s of M's training with drawing z and padding, against the same updates on one batch."""
    settings = make_settings(TrainMDRNNSettings, CARRACING, {"epochs": 1, "batch_size": _EPISODES})
    training = DynamicsTraining(
        settings, make_latents(_EPISODES + 1, _EPISODE_LENGTH), np.ones(LATENT_SIZE, bool), device
    )
    steps = _EPISODES * _EPISODE_LENGTH
    batch = training.batch(0, 0)

    def update() -> None:
        training.train_batch(batch)

    dynamics = make_models()[1]
    # The backward pass costs twice the forward.
    operations = 3 * (recurrence_operations(dynamics) + head_operations(dynamics))
    entries = [
        Entry("no loading", partial(_repeat, update, 1, steps), operations),
        Entry("vmc train-mdrnn", partial(_drain, training, 1, steps), operations),
    ]
    with one_thread(device):  # as the stage does
        return compare("M training, one thread", "steps", entries, rounds, gemm(device))


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
