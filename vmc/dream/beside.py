"""M beside a real episode: where it stands, what it expects, and its dream of the same actions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.dream.loading import TrainedDream
from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld
from vmc.models.dynamics.contract import SequenceBatch
from vmc.models.dynamics.noise import draw_noise
from vmc.models.dynamics.state import State

# The dream begins again so often, at M's state of the real episode; in between it sees only the actions.
DREAM_STEPS = 50

Floats = npt.NDArray[np.float32]


class Expectation(NamedTuple):
    """What M expected of a step, from before it.

    Attributes:
        reward: in the environment's units.
        termination: the probability that the step terminates the episode.
        surprise: the negative log-likelihood of the next latent, in nats a latent dimension in use; None in a dream.
    """

    reward: float
    termination: float
    surprise: float | None


class DreamBeside:
    """Follows a real episode, one step at a time.

    Args:
        rng: of the dream.

    Attributes:
        state: M's at the present real frame, of one row.
        dreamed: M's in the dream.
        settings: of the dream's steps to come.
        steps: of the dream, since it began at a real frame.
    """

    def __init__(self, dream: TrainedDream, settings: DreamSettings, rng: np.random.Generator) -> None:
        self._dynamics, self._world = dream.dynamics, DreamWorld(dream.dynamics)
        self._device = dream.starts.means.device
        self._rng, self.settings = rng, settings
        self.state = self.dreamed = State()
        self.steps = 0

    def begin(self, latent: Floats) -> None:
        """Begins at an episode's first frame, given its latent (Z,)."""
        self.state = self._dynamics.initial(self._row(latent))
        self.wake()

    def wake(self) -> None:
        """Begins the dream again at the present real frame."""
        self.dreamed, self.steps = self.state, 0

    @torch.no_grad()
    def step(self, action: Floats, latent: Floats, reward: float = 0.0) -> Expectation:
        """Goes on by one step.

        Args:
            action: that was applied, (A,).
            latent: of the next real frame, (Z,).
            reward: of the step.
        """
        actions, latents = self._row(action), self._row(latent)
        if self.steps == DREAM_STEPS:
            self.wake()
        noise = draw_noise([self._rng], 1, self._world.noise_sizes, self._device)
        self.dreamed = self._world.step(self.dreamed, actions, noise.at(0), self.settings).state
        self.steps += 1
        pair = torch.stack([self._dynamics.latents(self.state), latents], dim=1)
        known = torch.tensor([[reward]], device=self._device)
        batch = SequenceBatch(pair, actions[:, None], known, torch.zeros_like(known), torch.ones_like(known))
        predicted, self.state = self._dynamics.predict(batch, self.state)
        return Expectation(*(float(part) for part in (predicted.rewards, predicted.terminations, predicted.nll)))

    def latents(self) -> Tensor:
        """Those of the real frame and of the dream, (2, Z)."""
        return torch.cat([self._dynamics.latents(state) for state in (self.state, self.dreamed)])

    def _row(self, values: Floats) -> Tensor:
        return torch.from_numpy(values)[None].to(self._device)
