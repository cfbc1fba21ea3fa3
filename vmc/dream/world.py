"""The dream: M as an environment, a pure batched step on tensors (paper, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vmc.dream import kernels
from vmc.dream.linear import PackedLinear
from vmc.errors import VmcError
from vmc.models.dynamics import MDNRNN, Hidden
from vmc.models.mixture import MAX_LOG_STD, MIN_LOG_STD, mixture_from_fields, sample_mixture


@dataclass(frozen=True)
class DreamSettings:
    """How M is dreamed.

    Attributes:
        temperature: above 0; above 1 makes the dream more uncertain and harder to exploit.
        horizon: steps after which a dream is truncated.
        sample_termination: a dream terminates with M's probability; else when M's re-weighted one, in which
            terminations count as much as all else, exceeds one half.
    """

    temperature: float = 1.0
    horizon: int = 1000
    sample_termination: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise VmcError(f"The temperature is {self.temperature}; it must be above 0.")
        if self.horizon < 1:
            raise VmcError(f"The dream's horizon is {self.horizon}; it must be at least 1.")


class Noise(NamedTuple):
    """The random numbers of a step of a batch of dreams.

    Attributes:
        uniform: U(0, 1), (B, Z), for the mixture's component.
        normal: N(0, 1), (B, Z).
        termination: U(0, 1), (B,).
    """

    uniform: Tensor
    normal: Tensor
    termination: Tensor


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
        dynamics: M, in evaluation mode, on the device where the dream runs. Its weights are copied.
    """

    def __init__(self, dynamics: MDNRNN, settings: DreamSettings = DreamSettings()) -> None:
        self.settings = settings
        self.latent_size = dynamics.settings.latent_size
        from_inputs, from_hidden, input_bias, hidden_bias = dynamics.lstm.all_weights[0]
        self._gates = PackedLinear(torch.cat([from_inputs, from_hidden], dim=1), input_bias + hidden_bias)
        self._heads = PackedLinear(*_stacked_heads(dynamics))
        # M was trained as if terminations were more frequent than they are.
        self._log_termination_weight = dynamics.termination_weight.log().item()

    @torch.no_grad()
    def step(self, latents: Tensor, hidden: Hidden, actions: Tensor, noise: Noise) -> DreamStep:
        """One step of a batch of dreams.

        Args:
            latents: (B, Z).
            actions: (B, A), after the squash.
            noise: the step's random numbers. They come from outside so that all candidates of a generation can
                meet the same ones.
        """
        gates = self._gates(torch.cat([latents, actions, hidden.h], dim=1))
        hidden = _next_hidden(gates, hidden.c)
        outputs = self._heads(hidden.h)
        rewards, termination_logits = outputs[:, -2], outputs[:, -1]
        if self.settings.sample_termination:
            terminated = noise.termination < (termination_logits - self._log_termination_weight).sigmoid()
        else:
            terminated = termination_logits > 0
        return DreamStep(self._sample(outputs, noise), hidden, rewards, terminated)

    def _sample(self, outputs: Tensor, noise: Noise) -> Tensor:
        temperature = self.settings.temperature
        if outputs.device.type == "cpu":
            latents = torch.empty(len(outputs), self.latent_size)
            uniform, normal = noise.uniform.numpy(), noise.normal.numpy()
            kernels.sample(outputs.numpy(), uniform, normal, temperature, (MIN_LOG_STD, MAX_LOG_STD), latents.numpy())
            return latents
        mixture = outputs[:, :-2].unflatten(1, (3, -1, self.latent_size)).transpose(2, 3)
        return sample_mixture(mixture_from_fields(mixture), noise.uniform, noise.normal, temperature)


def _next_hidden(gates: Tensor, c: Tensor) -> Hidden:
    """The LSTM's state from its gates' sums (B, 4H) and its cell (B, H); `torch.lstm_cell` after the products."""
    if gates.device.type == "cpu":
        hidden = Hidden(torch.empty_like(c), torch.empty_like(c))
        kernels.lstm_cell(gates.numpy(), c.numpy(), hidden.h.numpy(), hidden.c.numpy())
        return hidden
    update, keep, new, output = gates.chunk(4, dim=1)
    c = keep.sigmoid() * c + update.sigmoid() * new.tanh()
    return Hidden(output.sigmoid() * c.tanh(), c)


def _stacked_heads(dynamics: MDNRNN) -> tuple[Tensor, Tensor]:
    """M's heads as one layer: the mixture with its components before its dimensions, the reward, the termination."""
    z = dynamics.settings.latent_size
    scale = dynamics.reward_scale
    mixture, reward, termination = dynamics.mixture, dynamics.reward, dynamics.termination
    columns = []
    for part in ("weight", "bias"):
        fields = getattr(mixture, part).unflatten(0, (3, z, -1)).transpose(1, 2).flatten(0, 2)
        columns.append(torch.cat([fields, getattr(reward, part) * scale, getattr(termination, part)]))
    return columns[0], columns[1]


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
        uniform = torch.rand(len(latents), world.latent_size + 1, generator=generator, device=latents.device)
        normal = torch.randn(latents.shape, generator=generator, device=latents.device)
        noise = Noise(uniform[:, 1:].contiguous(), normal, uniform[:, 0])
        latents, hidden, reward, _ = world.step(latents, hidden, action, noise)
        steps.append(latents)
        rewards.append(reward)
    return torch.stack(steps, dim=1), torch.stack(rewards, dim=1)
