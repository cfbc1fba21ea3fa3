"""Random streams. Each stream is derived from one seed and a name; none is global.

`numpy.random.SeedSequence` makes the streams independent. The names keep old streams unchanged when one is added.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Environment seeds are 31-bit numbers. The top three bits hold the role of the seed, so a test episode is never equal
# to a training episode, whatever the run's seed.
_ENV_SEED_BITS = 28
_ENV_SEED_ROLES = {"rollouts": 0, "fitness": 1, "validation": 2, "test": 3, "play": 4}


def _sequence(seed: int, use: str, indices: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(zlib.crc32(use.encode()), *indices))


def stream(seed: int, use: str, *indices: int) -> np.random.Generator:
    """Returns the NumPy generator of `(seed, use, *indices)`; the same arguments give the same stream."""
    return np.random.default_rng(_sequence(seed, use, indices))


def torch_stream(seed: int, use: str, *indices: int, device: str = "cpu") -> torch.Generator:
    """Returns the PyTorch generator of `(seed, use, *indices)` on `device`."""
    import torch

    state = _sequence(seed, use, indices).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


@contextmanager
def seeded_initialisation(seed: int) -> Iterator[None]:
    """Seeds PyTorch's global generator within the block, then restores it. The initialisers can use no other one."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def env_seed(seed: int, role: str, *indices: int) -> int:
    """Returns the seed for the `env.reset` of one episode; seeds of different roles are never equal.

    Args:
        role: `rollouts`, `fitness`, `validation` (to choose the best controller), `test` or `play` (by a person).
    """
    low = _ENV_SEED_ROLES[role] << _ENV_SEED_BITS
    draw = _sequence(seed, f"env/{role}", indices).generate_state(1, np.uint32)[0]
    return low + int(draw) % (1 << _ENV_SEED_BITS)
