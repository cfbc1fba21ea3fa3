"""The dream: M as an environment, a pure batched step on tensors (paper, section 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vmc.dream.settings import DreamSettings
from vmc.models.dynamics.contract import Features, Imaginer, WorldModel
from vmc.models.dynamics.noise import Noise, NoiseSizes, draw_noise
from vmc.models.dynamics.state import State

_DEFAULTS = DreamSettings()


class DreamStep(NamedTuple):
    """One step of a batch of dreams.

    Attributes:
        state: at the next frame.
        rewards: (B,), in the environment's units.
        terminated: bool (B,).
        terminations: M's probability of termination, (B,).
    """

    state: State
    rewards: Tensor
    terminated: Tensor
    terminations: Tensor


class DreamWorld:
    """Steps M; holds no state of a dream, so any number of batches can share it.

    Args:
        dynamics: M, in evaluation mode, on the device where the dream runs. Its weights must not change any more.
        differentiable: whether gradients flow through the steps, which are then several times slower.

    Attributes:
        noise_sizes: how many random numbers a step takes.
        device: M's.
    """

    def __init__(self, dynamics: WorldModel, differentiable: bool = False) -> None:
        self._model: Imaginer = dynamics if differentiable else dynamics.frozen()
        self._differentiable = differentiable
        self.noise_sizes: NoiseSizes = self._model.noise_sizes
        self.device: torch.device = next(dynamics.buffers()).device

    def step(self, state: State, actions: Tensor, noise: Noise, settings: DreamSettings = _DEFAULTS) -> DreamStep:
        """One step of a batch of dreams.

        Args:
            actions: (B, A), after the action map.
            noise: the step's random numbers. They come from outside, so that all candidates of a generation can
                meet the same ones.
            settings: temperature and rule of termination; the horizon is the caller's.
        """
        with torch.set_grad_enabled(self._differentiable):
            state, rewards, terminations = self._model.imagine(state, actions, noise, settings.temperature)
        threshold = noise.termination if settings.sample_termination else settings.termination_threshold
        return DreamStep(state, rewards, terminations > threshold, terminations)

    def features(self, state: State) -> Features:
        """The features of a state that C may read, by name, each (B, width)."""
        return self._model.features(state)

    def latents(self, state: State) -> Tensor:
        """The latents of a state's frame, (B, Z)."""
        return self._model.latents(state)


@torch.no_grad()
def dream_along(
    world: DreamWorld, state: State, actions: Tensor, rng: np.random.Generator, settings: DreamSettings
) -> tuple[Tensor, Tensor]:
    """Dreams under given actions (B, T, A), past any termination.

    Returns:
        The dreamed latents (B, T, Z) and rewards (B, T).
    """
    noise = draw_noise(rng.spawn(len(actions)), actions.shape[1], world.noise_sizes, actions.device)
    latents, rewards = [], []
    for t, action in enumerate(actions.unbind(dim=1)):
        step = world.step(state, action, noise.at(t), settings)
        state = step.state
        latents.append(world.latents(state))
        rewards.append(step.rewards)
    return torch.stack(latents, dim=1), torch.stack(rewards, dim=1)
