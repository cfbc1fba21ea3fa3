"""V for vectors: a dense variational autoencoder."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from vmc.models.vision.standardised import StandardisedVision

# The standard deviation of the decoder's Gaussian, in standardised units; it gives the error its weight.
_DECODER_STD = 0.1


@dataclass(frozen=True)
class DenseSettings:
    """V's shape.

    Attributes:
        input_size: D.
        latent_size: Z.
        hidden_units: of the one hidden layer of encoder and decoder.
    """

    input_size: int
    latent_size: int
    hidden_units: int = 64


class DenseVAE(StandardisedVision):
    """Compresses a standardised vector into a diagonal Gaussian over Z latents."""

    Settings = DenseSettings
    error_weight = 1 / (2 * _DECODER_STD**2)

    def __init__(self, settings: DenseSettings) -> None:
        super().__init__(settings)
        self.encoder = nn.Linear(settings.input_size, settings.hidden_units)
        self.mean = nn.Linear(settings.hidden_units, settings.latent_size)
        self.log_variance = nn.Linear(settings.hidden_units, settings.latent_size)
        self.expand = nn.Linear(settings.latent_size, settings.hidden_units)
        self.decoder = nn.Linear(settings.hidden_units, settings.input_size)

    @classmethod
    def settings_for(cls, frame_shape: tuple[int, ...], latent_size: int) -> DenseSettings:
        """More latents than numbers would compress nothing."""
        return DenseSettings(frame_shape[0], min(latent_size, frame_shape[0]))

    def posterior(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised (B, D) to the posterior's mean and log-variance, each (B, Z)."""
        features = F.relu(self.encoder(inputs))
        return self.mean(features), self.log_variance(features)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) to standardised (B, D)."""
        vectors: Tensor = self.decoder(F.relu(self.expand(latents)))
        return vectors
