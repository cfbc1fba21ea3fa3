"""V for vectors that need no compression: z is the standardised observation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vmc.models.standard import StandardisedVision
from vmc.models.visions import CERTAIN_LOG_VARIANCE


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
    """No parameters: only the centre and the spread of the vectors are kept."""

    def __init__(self, settings: IdentitySettings) -> None:
        super().__init__(settings.input_size)
        self.settings = settings

    def encode(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised (B, D) to itself, and a variance that is next to nothing."""
        return inputs, torch.full_like(inputs, CERTAIN_LOG_VARIANCE)

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) as they are."""
        return latents
