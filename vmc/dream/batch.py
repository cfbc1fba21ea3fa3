"""Dreams side by side that begin and end each by itself, each with its own random stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vmc.dream.actions import to_vectors
from vmc.dream.loading import TrainedDream
from vmc.dream.observations import as_array
from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld
from vmc.models.dynamics.noise import Noise, NoiseSizes, draw_numbers
from vmc.models.dynamics.state import State

Bools = npt.NDArray[np.bool_]

# Steps for which a dream draws its random numbers at once: a call for each dream and step would cost more than M.
_DRAWN_AT_ONCE = 16


class DreamBatch:
    """N dreams of one world.

    A dream depends on its own generator and actions alone: each episode takes from the generator a start, then blocks
    of noise.

    Attributes:
        state: M's, of N rows.
        settings: of the steps to come.
        terminations: M's probability of termination in the last step, (N,).
    """

    def __init__(self, dream: TrainedDream, settings: DreamSettings, num_dreams: int) -> None:
        self._starts, self._space, self.settings = dream.starts, dream.action_space, settings
        self._world = DreamWorld(dream.dynamics)
        self._device = dream.starts.means.device
        self._noise = _NoiseBlocks(num_dreams, self._world.noise_sizes)
        latents = torch.zeros(num_dreams, dream.dynamics.settings.latent_size, device=self._device)
        self.state = dream.dynamics.initial(latents)
        self.terminations = np.zeros(num_dreams, np.float32)

    def begin(self, rows: Bools, generators: Sequence[np.random.Generator], state: State | None = None) -> None:
        """Begins new episodes of some dreams.

        Args:
            rows: which, (N,).
            generators: of all N; those of `rows` are drawn from, now and until the next call.
            state: to begin at, with a row for each of `rows`; without it, recorded moments are drawn.
        """
        chosen = np.flatnonzero(rows).tolist()
        if state is None:
            state = self._starts.draw([generators[row] for row in chosen])
        self.state = self.state.map(torch.clone)  # a state may share memory with earlier ones
        self.state.copy_rows(torch.tensor(chosen, device=self._device), state)
        self._noise.restart(chosen, generators)

    def step(self, actions: npt.NDArray[Any], going: Bools) -> tuple[npt.NDArray[np.float64], Bools]:
        """Steps the dreams that are `going`, (N,); the others draw nothing, and must begin again after this.

        They are computed all the same: the products of a batch of another size may be rounded otherwise, and a
        dream should not feel that its neighbours come and go.

        Args:
            actions: (N, A), clipped to the real action space: M has seen no others; (N,) where they are discrete.

        Returns:
            Rewards in the environment's units and terminations, each (N,).

        Raises:
            VmcError: actions of another shape, not finite, or not among the discrete ones.
        """
        vectors = to_vectors(self._space, actions, len(going))
        noise = Noise(*(torch.from_numpy(numbers).to(self._device) for numbers in self._noise.draw(going)))
        step = self._world.step(self.state, torch.from_numpy(vectors).to(self._device), noise, self.settings)
        self.state, self.terminations = step.state, as_array(step.terminations)
        return as_array(step.rewards.double()), as_array(step.terminated)


class _NoiseBlocks:
    """The next random numbers of N dreams, each from its own stream."""

    def __init__(self, num_dreams: int, sizes: NoiseSizes) -> None:
        self._sizes, shape = sizes, (num_dreams, _DRAWN_AT_ONCE)
        self._uniform, self._normal = (np.zeros((*shape, size), np.float32) for size in sizes)
        self._termination = np.zeros(shape, np.float32)
        self._generators: dict[int, np.random.Generator] = {}
        self._next = np.zeros(num_dreams, np.int64)
        self._rows = np.arange(num_dreams)

    def restart(self, rows: list[int], generators: Sequence[np.random.Generator]) -> None:
        """Drops the rest of these dreams' blocks."""
        self._generators.update({row: generators[row] for row in rows})
        self._next[rows] = _DRAWN_AT_ONCE

    def draw(self, going: Bools) -> tuple[npt.NDArray[np.float32], ...]:
        """A step's numbers, the fields of `Noise`; where a dream is not going, any numbers."""
        for row in np.flatnonzero(going & (self._next == _DRAWN_AT_ONCE)).tolist():
            drawn = draw_numbers(self._generators[row], _DRAWN_AT_ONCE, self._sizes)
            self._uniform[row], self._normal[row], self._termination[row] = drawn
            self._next[row] = 0
        at = (self._rows, np.minimum(self._next, _DRAWN_AT_ONCE - 1))
        self._next += going
        return self._uniform[at], self._normal[at], self._termination[at]
