"""Encoding and decoding many frames, in chunks that fit into a cache or a GPU's memory."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from vmc.models.vision.contract import Vision

# V's widest layer holds 115 KB for each picture.
_CHUNK = 256


@torch.no_grad()
def encode_frames(vae: Vision, frames: npt.NDArray[Any]) -> tuple[Tensor, Tensor]:
    """Frames (N, ...) to V's mean and log-variance, each (N, Z), on V's device."""
    device = vae.latent_mask.device
    parts = [vae.encode(vae.to_input(part.to(device))) for part in torch.from_numpy(frames).split(_CHUNK)]
    means, log_variances = (torch.cat(column) for column in zip(*parts, strict=True))
    return means, log_variances


@torch.no_grad()
def decode_frames(vae: Vision, latents: Tensor) -> Tensor:
    """Latents (..., Z) to V's pictures of them, uint8 (..., 64, 64, 3), on V's device."""
    parts = [vae.to_frames(vae.decode(part)) for part in latents.flatten(0, -2).split(_CHUNK)]
    frames = torch.cat(parts)
    return frames.reshape(*latents.shape[:-1], *frames.shape[1:]).contiguous()
