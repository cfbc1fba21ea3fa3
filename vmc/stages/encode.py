"""V's latents of a data set, encoded once and kept in `latents.h5`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vmc.models.chunks import encode_frames
from vmc.models.loading import load_vae
from vmc.models.vision.contract import Vision
from vmc.progress import Progress
from vmc.storage.checkpoint import Checkpoint
from vmc.storage.frames import num_frames
from vmc.storage.latents import Latents, join, read_latents, write_latents
from vmc.storage.rollouts import RolloutDataset, StoredEpisode


def latents_path(run: Path) -> Path:
    """The file of a run's latents."""
    return run / "latents.h5"


def ensure_latents(run: Path, dataset: RolloutDataset, device: torch.device) -> tuple[Latents, Checkpoint]:
    """The latents of these data by the run's V; only episodes that this V has not encoded yet are encoded.

    Returns:
        The latents, and the checkpoint of the V that made them.
    """
    vae, checkpoint = load_vae(run)
    wanted = [(episode.index, episode.digest) for episode in dataset.episodes]
    known: dict[tuple[int, str], Latents] = {}
    stored = read_latents(latents_path(run), checkpoint.sha256)
    if stored is not None:
        latents, digests = stored
        present = list(zip(latents.index.tolist(), digests, strict=True))
        if present == wanted:
            return latents, checkpoint
        known = {key: latents.episode(position) for position, key in enumerate(present)}
    missing = [episode for episode in dataset.episodes if (episode.index, episode.digest) not in known]
    known |= _encode(vae.to(device), dataset, missing)
    latents = join([known[key] for key in wanted])
    write_latents(latents_path(run), latents, checkpoint.sha256, [digest for _, digest in wanted])
    return latents, checkpoint


def _encode(vae: Vision, dataset: RolloutDataset, episodes: list[StoredEpisode]) -> dict[tuple[int, str], Latents]:
    """The episodes' latents, by their numbers and digests."""
    encoded = {}
    with Progress("encode", num_frames(episodes), "frames") as progress:
        for stored in episodes:
            episode = dataset.read(stored)
            means, log_variances = (part.cpu().numpy() for part in encode_frames(vae, episode.frames))
            encoded[stored.index, stored.digest] = Latents(
                means,
                log_variances,
                episode.actions,
                episode.rewards.astype(np.float32),
                np.array([stored.index]),
                np.array([stored.length]),
                np.array([stored.terminated]),
            )
            progress.advance(len(episode.frames))
    return encoded
