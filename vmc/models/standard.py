"""Vectors in units of their own spread: what the dense VAE and the identity begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.models.vae import VisionModel

# Numbers that hardly move would be blown up by their spread: they stay in their own units.
_LEAST_STD = 1e-6


class StandardisedVision(VisionModel):
    """V on vectors (D,): the input is (vector - centre) / spread, per dimension.

    Both are measured once, on the first training data, and stay: z means the same when better episodes come later.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(input_size))
        self.register_buffer("spread", torch.ones(input_size))

    def prepare(self, sample: Callable[[], npt.NDArray[Any]]) -> None:
        """Measures centre and spread."""
        frames = sample().astype(np.float64)
        spread = frames.std(axis=0)
        spread[spread < _LEAST_STD] = 1.0
        self.centre.copy_(torch.from_numpy(frames.mean(axis=0)))
        self.spread.copy_(torch.from_numpy(spread))

    def to_input(self, frames: Tensor) -> Tensor:
        """float32 (B, D) to standardised (B, D)."""
        return (frames - self.centre) / self.spread
