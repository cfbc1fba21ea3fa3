"""V for vectors that need no compression: z is the standardised observation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vmc.models.vision.contract import CERTAIN_LOG_VARIANCE
from vmc.models.vision.standardised import StandardisedVision


@dataclass(frozen=True)
class IdentitySettings:
    """V's shape.

    Attributes:
        input_size: D.
    """

    input_size: int

    @property
    def latent_size(self) -> int:
        """Z, which is D."""
        return self.input_size


class Identity(StandardisedVision):
    """No parameters: it keeps only the centre and the spread of the vectors."""

    Settings = IdentitySettings

    @classmethod
    def settings_for(cls, frame_shape: tuple[int, ...], latent_size: int) -> IdentitySettings:
        return IdentitySettings(frame_shape[0])

    def posterior(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised (B, D) to itself, and next to no variance."""
        return inputs, torch.full_like(inputs, CERTAIN_LOG_VARIANCE)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) as they are."""
        return latents
