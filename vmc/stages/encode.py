"""V's latents of a data set, encoded once and kept in `latents.h5`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vmc.models.loading import load_vae
from vmc.models.vae import ConvVAE, to_input
from vmc.progress import Progress
from vmc.storage.checkpoint import Checkpoint
from vmc.storage.latents import Latents, read_latents, write_latents
from vmc.storage.rollouts import RolloutDataset

_BATCH = 256


def latents_path(run: Path) -> Path:
    """Where a run keeps its latents."""
    return run / "latents.h5"


def ensure_latents(run: Path, dataset: RolloutDataset, device: torch.device) -> tuple[Latents, Checkpoint]:
    """The latents of this V and these data: read where they are fresh, else encoded again.

    Returns:
        The latents, and the checkpoint of the V that made them.
    """
    vae, checkpoint = load_vae(run)
    data = dataset.fingerprint()
    latents = read_latents(latents_path(run), checkpoint.sha256, data)
    if latents is None:
        latents = _encode(vae.to(device), dataset, device)
        write_latents(latents_path(run), latents, checkpoint.sha256, data)
    return latents, checkpoint


@torch.inference_mode()
def _encode(vae: ConvVAE, dataset: RolloutDataset, device: torch.device) -> Latents:
    size = vae.settings.latent_size
    means = np.empty((dataset.num_frames, size), np.float32)
    log_variances = np.empty_like(means)
    actions, rewards = [], []
    first = 0
    with Progress("encode", dataset.num_frames, "frames") as progress:
        for stored in dataset.episodes:
            episode = dataset.read(stored)
            for frames in torch.from_numpy(episode.frames).split(_BATCH):
                mean, log_variance = vae.encode(to_input(frames.to(device)))
                last = first + len(frames)
                means[first:last], log_variances[first:last] = mean.cpu(), log_variance.cpu()
                first = last
            actions.append(episode.actions)
            rewards.append(episode.rewards.astype(np.float32))
            progress.advance(len(episode.frames))
    return Latents(
        means,
        log_variances,
        np.concatenate(actions),
        np.concatenate(rewards),
        np.array([episode.index for episode in dataset.episodes]),
        np.array([episode.length for episode in dataset.episodes]),
        np.array([episode.terminated for episode in dataset.episodes]),
    )
