"""The random numbers of dreams: drawn here, and nowhere else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float32]


class NoiseSizes(NamedTuple):
    """The count of random numbers for one step of one dream: U uniform and N normal ones."""

    uniform: int
    normal: int


class Noise(NamedTuple):
    """The random numbers of a step of a batch of dreams, all float32.

    Attributes:
        uniform: U(0, 1), (B, U), for M.
        normal: N(0, 1), (B, N), for M.
        termination: U(0, 1), (B,), for a termination by sampling.
    """

    uniform: Tensor
    normal: Tensor
    termination: Tensor

    def at(self, step: int) -> Noise:
        """One step of the noise of many, (T, B, ...)."""
        return Noise(*(numbers[step] for numbers in self))


def draw_numbers(generator: np.random.Generator, steps: int, sizes: NoiseSizes) -> tuple[Floats, Floats, Floats]:
    """The numbers of T steps of one dream: uniform (T, U), normal (T, N), termination (T,)."""
    uniform = generator.random((steps, sizes.uniform + 1), np.float32)
    return uniform[:, 1:], generator.standard_normal((steps, sizes.normal), np.float32), uniform[:, 0]


def draw_batch_noise(
    generator: np.random.Generator, steps: int, batch: int, sizes: NoiseSizes, device: torch.device
) -> Noise:
    """The noise of T steps of B dreams that share a generator: fields (T, B, ...)."""
    uniform = generator.random((steps, batch, sizes.uniform + 1), np.float32)
    normal = generator.standard_normal((steps, batch, sizes.normal), np.float32)
    parts = np.ascontiguousarray(uniform[..., 1:]), normal, np.ascontiguousarray(uniform[..., 0])
    return Noise(*(torch.from_numpy(part).to(device) for part in parts))


def draw_noise(generators: list[np.random.Generator], steps: int, sizes: NoiseSizes, device: torch.device) -> Noise:
    """The noise of T steps of B dreams, each with its own generator: fields (T, B, ...)."""
    columns = zip(*(draw_numbers(generator, steps, sizes) for generator in generators), strict=True)
    return Noise(*(torch.from_numpy(np.stack(column, axis=1)).to(device) for column in columns))
