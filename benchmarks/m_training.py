"""Steps/s of M's training on a CPU, by threads, batch size and H: what the defaults were chosen by.

python benchmarks/m_training.py
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from vmc.bench.models import LATENT_SIZE, make_latents
from vmc.config import make_settings
from vmc.envs import CARRACING, TAKE_COVER
from vmc.stages.settings import TrainMDRNNSettings
from vmc.stages.train_mdrnn import DynamicsTraining

_LENGTH, _ROUNDS = 256, 3


def _rate(env: str, batch_size: int, threads: int) -> float:
    torch.set_num_threads(threads)
    settings = make_settings(TrainMDRNNSettings, env, {"epochs": 1, "batch_size": batch_size})
    latents, mask = make_latents(2 * batch_size, _LENGTH), np.ones(LATENT_SIZE, bool)
    training = DynamicsTraining(settings, latents, mask, torch.device("cpu"))
    batch = training.batch(0, 0)
    training.train_batch(batch)
    rates = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        training.train_batch(batch)
        rates.append(batch_size * _LENGTH / (time.perf_counter() - started))
    return statistics.median(rates)


if __name__ == "__main__":
    for env in (CARRACING, TAKE_COVER):  # H 256 and 512
        for batch_size in (16, 32, 64):
            one, two = (_rate(env, batch_size, threads) for threads in (1, 2))
            print(f"{env}, batch {batch_size}: {one:,.0f} steps/s on one thread, {two:,.0f} on two")
