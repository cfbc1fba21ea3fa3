"""Vectors in units of their own spread: the dense VAE and the identity begin with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.envs import VECTORS
from vmc.models.vision.contract import Vision
from vmc.storage.files import write_json

# A number that hardly moves stays in its own units: its spread would make it large.
_MIN_STD = 1e-6


class StandardisedVision(Vision):
    """V on vectors (D,): the input is (vector - centre) / spread, per dimension.

    Both are measured once, on the first training data, and stay: z means the same when better episodes come later.
    """

    sees = VECTORS
    centre: Tensor
    spread: Tensor

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.register_buffer("centre", torch.zeros(settings.input_size))
        self.register_buffer("spread", torch.ones(settings.input_size))

    def prepare(self, sample: Callable[[], npt.NDArray[Any]]) -> None:
        """Measures centre and spread."""
        frames = sample().astype(np.float64)
        spread = frames.std(axis=0)
        spread[spread < _MIN_STD] = 1.0
        self.centre.copy_(torch.from_numpy(frames.mean(axis=0)))
        self.spread.copy_(torch.from_numpy(spread))

    def to_input(self, frames: Tensor) -> Tensor:
        """float32 (B, D) to standardised (B, D)."""
        return (frames - self.centre) / self.spread

    def to_frames(self, inputs: Tensor) -> Tensor:
        """Standardised (B, D) to float32 (B, D) in the environment's units."""
        return inputs * self.spread + self.centre

    @torch.inference_mode()
    def report(self, folder: Path, frames: npt.NDArray[Any]) -> Path:
        """`reconstructions.json`: the share of each dimension's variance that V keeps; null where it does not vary."""
        inputs = self.to_input(torch.from_numpy(frames))
        errors = (inputs - self.decode(self.encode(inputs)[0])).square().mean(dim=0)
        variances = inputs.var(dim=0, unbiased=False)
        pairs = zip(errors.tolist(), variances.tolist(), strict=True)
        shares = [1 - error / variance if variance else None for error, variance in pairs]
        path = folder / "reconstructions.json"
        write_json(path, {"explained_variance": shares, "latent_size": self.settings.latent_size})
        return path
