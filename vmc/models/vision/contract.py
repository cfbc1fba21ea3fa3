"""The contract of V: frames to latents and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy.typing as npt
import torch
from torch import Tensor, nn

from vmc.envs import PREPROCESSING
from vmc.models.export import export_graph

# The log-variance of a latent dimension that is not in use: a standard deviation of 5e-5, as good as none.
CERTAIN_LOG_VARIANCE = -20.0
# Nats of a latent dimension that cost nothing (hardmaru's `vae.py`).
KL_FLOOR = 0.5


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


class Vision(nn.Module, ABC):
    """V: a diagonal Gaussian over Z latents for each frame.

    A kind of V is a subclass in a file of its own, with a line in `vmc.models.vision.KINDS`.

    Attributes:
        Settings: a frozen dataclass with `latent_size`.
        sees: the preprocessing of its frames, one of `vmc.envs.PREPROCESSINGS`.
        settings: an instance of `Settings`.
        latent_mask: the latent dimensions in use, bool (Z,). In the others z is 0 and certain.
        error_weight: of the squared error beside the KL, in the loss.
    """

    Settings: ClassVar[type[Any]]
    sees: ClassVar[str]
    error_weight: ClassVar[float] = 1.0
    latent_mask: Tensor

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("latent_mask", torch.ones(settings.latent_size, dtype=torch.bool))

    @classmethod
    @abstractmethod
    def settings_for(cls, frame_shape: tuple[int, ...], latent_size: int) -> Any:
        """The settings for frames of a shape and the task's Z."""

    def prepare(self, sample: Callable[[], npt.NDArray[Any]]) -> None:
        """Called once, before the first training, with a function that returns training frames (N, ...)."""

    @abstractmethod
    def to_input(self, frames: Tensor) -> Tensor:
        """Frames as stored, (B, ...), to float32 inputs."""

    @abstractmethod
    def posterior(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs to the posterior's mean and log-variance, each (B, Z), without the mask."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) to inputs."""

    @property
    def decodes_pictures(self) -> bool:
        """True if `to_frames` makes pictures of what `decode` gives."""
        return self.sees == PREPROCESSING

    def to_frames(self, inputs: Tensor) -> Tensor:
        """The inverse of `to_input`: for pictures uint8 (B, 64, 64, 3), for vectors float32 (B, D)."""
        return inputs

    @abstractmethod
    def report(self, folder: Path, frames: npt.NDArray[Any]) -> Path:
        """Writes what V keeps of these validation frames (N, ...) into the folder; returns the file's path."""

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs to the posterior's mean and log-variance, each (B, Z), with the mask applied."""
        return self.masked(*self.posterior(inputs))

    def masked(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """0 and certain in the latent dimensions that are not in use."""
        mask = self.latent_mask
        return torch.where(mask, mean, 0.0), torch.where(mask, log_variance, CERTAIN_LOG_VARIANCE)

    def encode_frame(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """One frame (...) to mean and log-variance, each (Z,); this is exported for worker processes."""
        mean, log_variance = self.encode(self.to_input(frame[None]))
        return mean[0], log_variance[0]

    def forward(self, inputs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs and noise ~ N(0, I) (B, Z) to (reconstruction, mean, log-variance)."""
        mean, log_variance = self.encode(inputs)
        return self.decode(sample_latent(mean, log_variance, noise)), mean, log_variance

    def encoder_graph(self, frame: Tensor) -> bytes:
        """`encode_frame` as an ONNX graph without weights; `frame` is an example on the CPU."""
        return export_graph(_FrameEncoder(self), (frame,), ["frame"], ["mean", "log_variance"])


class _FrameEncoder(nn.Module):
    def __init__(self, model: Vision) -> None:
        super().__init__()
        self.model = model

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.encode_frame(frame)


def sample_latent(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """z = mean + exp(log_variance / 2) * noise (reparametrisation; Kingma & Welling 2014); all of one shape."""
    return mean + torch.exp(0.5 * log_variance) * noise


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats of each dimension: (B, Z) to (B, Z)."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp())


def vae_loss(
    inputs: Tensor,
    reconstruction: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    kl_floor: float = KL_FLOOR,
    error_weight: float = 1.0,
) -> VAELoss:
    """The evidence lower bound (Kingma & Welling 2014, equation 10), negative, with a floor under the KL.

    L = w |x - x'|^2 + max(KL, kl_floor * Z), a mean over frames (paper, appendix A.1; hardmaru's `vae.py` has the
    floor).

    Args:
        inputs, reconstruction: (B, ...), images (B, 3, 64, 64) in [0, 1] or standardised vectors (B, D).
        mean, log_variance: (B, Z).
        kl_floor: nats a latent dimension.
        error_weight: w; 1 / (2 s^2) makes the error the likelihood of a Gaussian with deviation s.
    """
    squared_error = (inputs - reconstruction.float()).square().flatten(1).sum(dim=1).mean()
    kl = kl_divergence(mean.float(), log_variance.float()).sum(dim=1)
    floored = kl.clamp(min=kl_floor * mean.shape[1]).mean()
    return VAELoss(error_weight * squared_error + floored, squared_error, kl.mean())
