"""The dream: M as an environment, a pure batched step on tensors (paper, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vmc.errors import VmcError
from vmc.models.dynamics import MDNRNN, Hidden
from vmc.models.mixture import sample_mixture


@dataclass(frozen=True)
class DreamSettings:
    """How M is dreamed.

    Attributes:
        temperature: above 0; above 1 makes the dream more uncertain and harder to exploit.
        horizon: steps after which a dream is truncated.
        termination_threshold: a dream terminates when M's (re-weighted) termination probability exceeds it.
    """

    temperature: float = 1.0
    horizon: int = 1000
    termination_threshold: float = 0.5

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise VmcError(f"The temperature is {self.temperature}; it must be above 0.")
        if self.horizon < 1:
            raise VmcError(f"The dream's horizon is {self.horizon}; it must be at least 1.")


class DreamStep(NamedTuple):
    """What one step of a dream gives, each with the batch's leading shape.

    Attributes:
        latents: the next z, (B, Z).
        hidden: the next state.
        rewards: (B,), in the environment's units.
        terminated: bool (B,).
    """

    latents: Tensor
    hidden: Hidden
    rewards: Tensor
    terminated: Tensor


class DreamWorld:
    """Steps M; holds no state of a dream, so that any number of batches can share it.

    Args:
        dynamics: M, in evaluation mode, on the device where the dream runs.
    """

    def __init__(self, dynamics: MDNRNN, settings: DreamSettings = DreamSettings()) -> None:
        self.dynamics = dynamics
        self.settings = settings

    @torch.no_grad()
    def step(self, latents: Tensor, hidden: Hidden, actions: Tensor, uniform: Tensor, normal: Tensor) -> DreamStep:
        """One step of a batch of dreams.

        Args:
            latents: (B, Z).
            actions: (B, A), after the squash.
            uniform, normal: the step's random numbers, U(0, 1) and N(0, 1), each (B, Z). They come from outside
                so that all candidates of a generation can meet the same ones.
        """
        hidden = self.dynamics.step(latents, actions, hidden)
        prediction = self.dynamics.heads(hidden.h)
        latents = sample_mixture(prediction.mixture, uniform, normal, self.settings.temperature)
        terminated = prediction.termination_logit.sigmoid() > self.settings.termination_threshold
        return DreamStep(latents, hidden, prediction.reward, terminated)


@torch.no_grad()
def dream_along(
    world: DreamWorld, latents: Tensor, hidden: Hidden, actions: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Dreams under given actions (B, T, A), whatever M says of termination.

    Returns:
        The dreamed latents (B, T, Z) and rewards (B, T).
    """
    steps, rewards = [], []
    for action in actions.unbind(dim=1):
        uniform = torch.rand(latents.shape, generator=generator, device=latents.device)
        normal = torch.randn(latents.shape, generator=generator, device=latents.device)
        latents, hidden, reward, _ = world.step(latents, hidden, action, uniform, normal)
        steps.append(latents)
        rewards.append(reward)
    return torch.stack(steps, dim=1), torch.stack(rewards, dim=1)
