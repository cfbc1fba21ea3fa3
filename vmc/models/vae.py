"""V: the convolutional variational autoencoder (paper, appendix A.1; hardmaru's `carracing/vae/vae.py`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmc.models.visions import CERTAIN_LOG_VARIANCE

_ENCODER_CHANNELS = (3, 32, 64, 128, 256)
_DECODER_CHANNELS = (1024, 128, 64, 32, 3)
_DECODER_KERNELS = (5, 5, 6, 6)
_FEATURES = 2 * 2 * 256  # what four stride-2 convolutions leave of 64x64


@dataclass(frozen=True)
class VAESettings:
    """V's shape.

    Attributes:
        latent_size: Z; 32 in the paper (64 for Doom).
    """

    latent_size: int = 32


@dataclass(frozen=True)
class VAELoss:
    """The parts of V's loss, each a mean over frames (scalars).

    Attributes:
        total: weighted reconstruction + floored KL.
        reconstruction: squared error summed over an input's values (64x64x3 in [0, 1] for a picture).
        kl: KL(q(z | frame) || N(0, I)) in nats, before the floor.
    """

    total: Tensor
    reconstruction: Tensor
    kl: Tensor


def to_input(frames: Tensor) -> Tensor:
    """uint8 (B, 64, 64, 3) to float32 (B, 3, 64, 64) in [0, 1]; the result is channels-last in memory."""
    return frames.permute(0, 3, 1, 2).float().div_(255)


def to_frames(images: Tensor) -> Tensor:
    """The inverse: (B, 3, 64, 64) in [0, 1] to uint8 (B, 64, 64, 3)."""
    return images.permute(0, 2, 3, 1).mul(255).round_().clamp_(0, 255).to(torch.uint8)


class SizedSettings(Protocol):
    """What the settings of every kind of V say."""

    @property
    def latent_size(self) -> int: ...


class VisionModel(nn.Module, ABC):
    """What every kind of V has: frames to inputs, inputs to a diagonal Gaussian over Z latents, and back.

    Attributes:
        error_weight: of the squared error beside the KL, in the loss.
    """

    settings: SizedSettings
    error_weight = 1.0

    def prepare(self, sample: Callable[[], npt.NDArray[Any]]) -> None:
        """Called once, before the first training, with a way to get training frames (N, ...)."""

    @abstractmethod
    def to_input(self, frames: Tensor) -> Tensor:
        """Frames as stored, (B, ...), to float32 inputs."""

    @abstractmethod
    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs to the posterior's mean and log-variance, each (B, Z)."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) to inputs."""

    def forward(self, inputs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs and noise ~ N(0, I) (B, Z) to (reconstruction, mean, log-variance)."""
        mean, log_variance = self.encode(inputs)
        return self.decode(sample_latent(mean, log_variance, noise)), mean, log_variance


class ConvVAE(VisionModel):
    """Compresses a frame into a diagonal Gaussian over Z latents; 4,348,547 parameters for Z = 32."""

    def __init__(self, settings: VAESettings = VAESettings()) -> None:
        super().__init__()
        self.settings = settings
        pairs = pairwise(_ENCODER_CHANNELS)
        self.encoder = nn.ModuleList(nn.Conv2d(i, o, kernel_size=4, stride=2) for i, o in pairs)
        self.mean = nn.Linear(_FEATURES, settings.latent_size)
        self.log_variance = nn.Linear(_FEATURES, settings.latent_size)
        self.expand = nn.Linear(settings.latent_size, _DECODER_CHANNELS[0])
        shapes = zip(_DECODER_CHANNELS, _DECODER_CHANNELS[1:], _DECODER_KERNELS, strict=False)
        self.decoder = nn.ModuleList(nn.ConvTranspose2d(i, o, kernel_size=k, stride=2) for i, o, k in shapes)

    def to_input(self, frames: Tensor) -> Tensor:
        """uint8 (B, 64, 64, 3) to images."""
        return to_input(frames)

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, 64, 64) in [0, 1] to the posterior's mean and log-variance, each (B, Z)."""
        for conv in self.encoder:
            inputs = F.relu(conv(inputs))
        features = inputs.flatten(1)
        return self.mean(features), self.log_variance(features)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) to images (B, 3, 64, 64) in [0, 1]."""
        images = self.expand(latents)[:, :, None, None]
        *hidden, last = self.decoder
        for deconv in hidden:
            images = F.relu(deconv(images))
        return torch.sigmoid(last(images))


def sample_latent(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = mean + exp(log_variance / 2) * noise (reparametrisation); all of one shape."""
    return mean + torch.exp(0.5 * log_variance) * noise


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats of each dimension: (B, Z) to (B, Z)."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp())


def silenced(weights: dict[str, Tensor], dimensions: Tensor) -> dict[str, Tensor]:
    """A V's weights with heads that say z = 0, for certain, in the given latent dimensions, bool (Z,).

    A dimension that V makes no use of is N(0, 1) whatever the frame shows: noise that C and M would have to live with.
    """
    heads = {
        "mean.weight": 0.0,
        "mean.bias": 0.0,
        "log_variance.weight": 0.0,
        "log_variance.bias": CERTAIN_LOG_VARIANCE,
    }
    changed = {name: weights[name].clone() for name in heads}
    for name, value in heads.items():
        changed[name][dimensions] = value
    return weights | changed


def vae_loss(
    inputs: Tensor,
    reconstruction: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    kl_floor: float = 0.5,
    error_weight: float = 1.0,
) -> VAELoss:
    """Squared error summed over an input's values, plus KL floored per frame at `kl_floor` nats a latent dimension.

    Args:
        inputs, reconstruction: (B, ...), images (B, 3, 64, 64) in [0, 1] or standardised vectors (B, D).
        mean, log_variance: (B, Z).
        error_weight: of the squared error; 1 / (2 s^2) makes it the likelihood of a Gaussian with deviation s.
    """
    squared_error = (inputs - reconstruction.float()).square().flatten(1).sum(dim=1).mean()
    kl = kl_divergence(mean.float(), log_variance.float()).sum(dim=1)
    floored = kl.clamp(min=kl_floor * mean.shape[1]).mean()
    return VAELoss(error_weight * squared_error + floored, squared_error, kl.mean())
