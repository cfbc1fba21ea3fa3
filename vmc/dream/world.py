"""The dream: M as an environment, a pure batched step on tensors (paper, section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vmc.dream import kernels
from vmc.dream.linear import PackedLinear, packed_linear
from vmc.dream.settings import DreamSettings
from vmc.models.backbones import make_step
from vmc.models.backbones.contract import Hidden
from vmc.models.dynamics import MDNRNN
from vmc.models.mixture import MAX_LOG_STD, MIN_LOG_STD


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
        dynamics: M, in evaluation mode, on the device where the dream runs; to be left as it is from now on.
    """

    def __init__(self, dynamics: MDNRNN, settings: DreamSettings = DreamSettings()) -> None:
        self.settings = settings
        self.latent_size = dynamics.settings.latent_size
        self._num_mixtures = dynamics.settings.num_mixtures
        self._active = dynamics.active_dimensions()
        self._num_weight_sets = min(dynamics.settings.num_weight_sets, len(self._active))
        self._next_hidden = _fast_step(dynamics) if dynamics.reward_scale.device.type == "cpu" else dynamics.step
        self._heads = PackedLinear(*_stacked_heads(dynamics, self._active))

    @torch.no_grad()
    def step(self, latents: Tensor, hidden: Hidden, actions: Tensor, noise: Noise) -> DreamStep:
        """One step of a batch of dreams.

        Args:
            latents: (B, Z).
            actions: (B, A), after the action_map.
            noise: the step's random numbers. They come from outside so that all candidates of a generation can
                meet the same ones.
        """
        hidden = self._next_hidden(latents, actions, hidden)
        outputs = self._heads(hidden.h)
        rewards, termination_logits = outputs[:, -2], outputs[:, -1]
        threshold = noise.termination if self.settings.sample_termination else self.settings.termination_threshold
        return DreamStep(self._sample(outputs, noise), hidden, rewards, termination_logits.sigmoid() > threshold)

    def _sample(self, outputs: Tensor, noise: Noise) -> Tensor:
        """The next latents, (B, Z): drawn in the active dimensions, 0 in those that V has silenced."""
        if len(self._active) == self.latent_size:
            return self._sample_active(outputs, noise.uniform, noise.normal)
        latents = outputs.new_zeros(len(outputs), self.latent_size)
        latents[:, self._active] = self._sample_active(
            outputs, noise.uniform[:, self._active], noise.normal[:, self._active]
        )
        return latents

    def _sample_active(self, outputs: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        temperature, k, size = self.settings.temperature, self._num_mixtures, len(self._active)
        if outputs.device.type == "cpu":
            latents, bounds = torch.empty(len(outputs), size), (MIN_LOG_STD, MAX_LOG_STD)
            arguments = outputs.numpy(), k, uniform.numpy(), normal.numpy(), temperature, bounds
            kernels.sample(*arguments, latents.numpy())
            return latents
        parts = outputs[:, :-2].split([k * self._num_weight_sets, k * size, k * size], dim=1)
        logits, means, log_stds = (part.unflatten(1, (k, -1)) for part in parts)
        return sample_on_gpu(logits, means, log_stds, uniform, normal, temperature)


def sample_on_gpu(
    logits: Tensor, means: Tensor, log_stds: Tensor, uniform: Tensor, normal: Tensor, temperature: float
) -> Tensor:
    """`sample_mixture` in as few kernels as PyTorch has: each costs a GPU more than what it computes here.

    Args:
        logits: (B, K, W), means, log_stds: (B, K, Z): not yet normalised or clamped.
    """
    cumulative = (logits / temperature).softmax(dim=1).cumsum(dim=1)[:, :-1]
    component = (uniform[:, None, : logits.shape[2]] >= cumulative).sum(dim=1, keepdim=True)
    component = component.expand(-1, 1, means.shape[2])
    mean, log_std = (part.gather(1, component)[:, 0] for part in (means, log_stds))
    std = log_std.clamp(MIN_LOG_STD, MAX_LOG_STD).exp()
    return torch.addcmul(mean, std, normal, value=math.sqrt(temperature))


def _fast_step(dynamics: MDNRNN) -> Callable[[Tensor, Tensor, Hidden], Hidden]:
    """`dynamics.step` for a CPU, several times faster; its weights are copied."""
    arrays = {name: tensor.numpy() for name, tensor in dynamics.state_dict().items()}
    step = make_step(dynamics.settings.backbone, arrays, packed_linear)

    def next_hidden(latents: Tensor, actions: Tensor, hidden: Hidden) -> Hidden:
        inputs = torch.cat([latents, actions], dim=1)
        return Hidden(*map(torch.from_numpy, step(inputs.numpy(), hidden.h.numpy(), hidden.c.numpy())))

    return next_hidden


def _stacked_heads(dynamics: MDNRNN, active: Tensor) -> tuple[Tensor, Tensor]:
    """M's heads as one layer: the mixture with its components before its active dimensions, reward, termination."""
    settings, scale = dynamics.settings, dynamics.reward_scale
    z, k = settings.latent_size, settings.num_mixtures
    mixture, reward, termination = dynamics.mixture, dynamics.reward, dynamics.termination
    columns = []
    for part in ("weight", "bias"):
        fields = getattr(mixture, part).split([settings.num_weight_sets * k, z * k, z * k])
        sets = [field.unflatten(0, (-1, k)) for field in fields]  # the weights may be one set for all dimensions
        chosen = [each[active] if len(each) == z else each for each in sets]
        rows = [each.transpose(0, 1).flatten(0, 1) for each in chosen]
        columns.append(torch.cat([*rows, getattr(reward, part) * scale, getattr(termination, part)]))
    weight, bias = columns
    bias[-1] -= dynamics.termination_weight.log()  # M was trained as if terminations were more frequent than they are
    return weight, bias


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
