"""Random streams, each derived from one seed and named by its use (no global seeding anywhere).

`numpy.random.SeedSequence` makes streams independent; the name keeps a new stream from disturbing the old ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Environment seeds are 31-bit numbers. The top three bits say what the seed is for, so that an episode used for
# a test can never be one that was used for training, whatever the run's seed.
_ENV_SEED_BITS = 28
_ENV_SEED_ROLES = {"rollouts": 0, "fitness": 1, "validation": 2, "test": 3}


def _sequence(seed: int, use: str, indices: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(use.encode()), *indices))


def stream(seed: int, use: str, *indices: int) -> np.random.Generator:
    """A NumPy generator for `(seed, use, *indices)`; the same arguments give the same stream."""
    return np.random.default_rng(_sequence(seed, use, indices))


def torch_stream(seed: int, use: str, *indices: int, device: str = "cpu") -> torch.Generator:
    """The same for PyTorch, on the given device."""
    import torch

    state = _sequence(seed, use, indices).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


@contextmanager
def seeded_initialisation(seed: int) -> Iterator[None]:
    """PyTorch's initialisers know only its global generator: seeds it within the block, and puts it back after."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def env_seed(seed: int, role: str, *indices: int) -> int:
    """The seed for one episode's `env.reset`; seeds of different roles never meet.

    Args:
        role: `rollouts`, `fitness`, `validation` (choosing the best controller) or `test`.
    """
    low = _ENV_SEED_ROLES[role] << _ENV_SEED_BITS
    draw = _sequence(seed, f"env/{role}", indices).generate_state(1, np.uint32)[0]
    return low + int(draw) % (1 << _ENV_SEED_BITS)
