"""An RSSM whose weights stay, for dreams: packed products, and s drawn in one pass over memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmc.models.dynamics.contract import Imagined
from vmc.models.dynamics.mdn import Memory
from vmc.models.dynamics.noise import Noise
from vmc.models.dynamics.recurrences import GRURecurrence
from vmc.models.dynamics.state import State
from vmc.models.dynamics.stochastic import UNIFORM_SHARE, Categorical
from vmc.models.dynamics.transformer import CausalTransformer
from vmc.models.fastmath import compiled, exp
from vmc.models.packed_linear import PackedLinear

if TYPE_CHECKING:
    from vmc.models.dynamics.rssm import RSSM

Layer = Callable[[Tensor], Tensor]


class FrozenRSSM:
    """An `Imaginer`, up to rounding the model itself.

    Args:
        model: in evaluation mode, on the device where the dream runs.
    """

    def __init__(self, model: RSSM) -> None:
        self.noise_sizes = model.noise_sizes
        self.features, self.latents, self.with_latents = model.features, model.latents, model.with_latents
        self._model = model
        self._embedding, self._prior, self._trunk = map(_packed, (model.embedding, model.prior, model.trunk))
        self._move = _moving(model.recurrence)
        self._latent = PackedLinear(model.latent.weight, model.latent.bias)
        self._used = model.latent_mask if model.latent_mask.any() else ~model.latent_mask

    @torch.no_grad()
    def imagine(self, state: State, actions: Tensor, noise: Noise, temperature: float) -> Imagined:
        model, (_, s, *memory) = self._model, state
        inputs = self._embedding(torch.cat([s, actions], dim=1))
        moved: Memory = (
            model.recurrence.step(inputs, tuple(memory)) if self._move is None else self._move(inputs, *memory)
        )
        h = moved[0]
        s = self._sample(self._prior(h), noise, temperature)
        vectors = self._trunk(torch.cat([h, s], dim=1))
        mean, log_std = model.split_latent(self._latent(vectors))
        spread = noise.normal[:, model.stochastic.noise_sizes.normal :]
        latents = torch.where(self._used, torch.addcmul(mean, log_std.exp_(), spread, value=temperature**0.5), 0)
        rewards, logits = model.outcomes(vectors)
        return Imagined(State((latents, s, *moved)), rewards, model.probability(logits))

    def _sample(self, outputs: Tensor, noise: Noise, temperature: float) -> Tensor:
        stochastic = self._model.stochastic
        if not isinstance(stochastic, Categorical):
            return stochastic.sample(outputs, noise.normal[:, : stochastic.noise_sizes.normal], temperature)
        if outputs.device.type != "cpu":
            return stochastic.sample(outputs, noise.uniform, temperature)
        s = torch.zeros_like(outputs)
        draw_on_cpu(outputs.numpy(), noise.uniform.numpy(), 1 / temperature, s.numpy())
        return s


def _packed(layers: nn.Sequential) -> Layer:
    """The layers of an RSSM, each product of them packed."""
    parts: list[Layer] = []
    for layer in layers:
        if isinstance(layer, nn.Linear):
            parts.append(PackedLinear(layer.weight, layer.bias))
        elif isinstance(layer, nn.SiLU):
            parts.append(lambda values: F.silu(values, inplace=True))
        else:
            parts.append(layer)

    def apply(values: Tensor) -> Tensor:
        for part in parts:
            values = part(values)
        return values

    return apply


def _moving(recurrence: Any) -> Callable[..., Memory]:
    """From the inputs and the parts of the memory to the next memory."""
    if not isinstance(recurrence, GRURecurrence):
        step = recurrence.frozen_step() if isinstance(recurrence, CausalTransformer) else recurrence.step
        return lambda inputs, *memory: step(inputs, memory)
    weight_inputs, weight_h, bias_inputs, bias_h = recurrence.gru.all_weights[0]
    inputs_layer, h_layer = PackedLinear(weight_inputs, bias_inputs), PackedLinear(weight_h, bias_h)

    def move(inputs: Tensor, h: Tensor) -> Memory:
        reset, update, new = inputs_layer(inputs).chunk(3, dim=1)
        reset_h, update_h, new_h = h_layer(h).chunk(3, dim=1)
        candidate = torch.addcmul(new, (reset + reset_h).sigmoid_(), new_h).tanh_()
        return (torch.lerp(candidate, h, (update + update_h).sigmoid_()),)

    return move


Array = Any  # the kernel's array types are the caller's
_f = np.float32


@compiled
def draw_on_cpu(outputs: Array, uniform: Array, sharpness: float, s: Array) -> None:
    """`Categorical.sample`: softmax, its uniform share, and the inversion of the cumulative sum.

    Args:
        outputs: (B, V * C).
        uniform: U(0, 1), (B, V).
        sharpness: the reciprocal of the temperature.
        s: zeros, (B, V * C); a 1 is written to each variable.
    """
    num_variables = uniform.shape[1]
    num_classes = outputs.shape[1] // num_variables
    weights, sharpness = np.empty(num_classes, np.float32), _f(sharpness)
    floor = _f(UNIFORM_SHARE) / _f(num_classes)
    for row in range(len(outputs)):
        for variable in range(num_variables):
            first = variable * num_classes
            logits = outputs[row, first : first + num_classes]
            top = logits[0]
            for j in range(num_classes):
                top = max(top, logits[j])
            total = _f(0)
            for j in range(num_classes):
                weights[j] = exp((logits[j] - top) * sharpness)
                total += weights[j]
            share = (_f(1) - _f(UNIFORM_SHARE)) / total
            chosen, cumulative = 0, _f(0)
            for j in range(num_classes - 1):
                cumulative += share * weights[j] + floor
                if uniform[row, variable] >= cumulative:
                    chosen = j + 1
            s[row, first + chosen] = _f(1)
