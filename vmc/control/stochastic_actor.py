"""C with noise on its outputs, and a critic beside it: what the policy-gradient trainers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vmc.control.trainer import Array
from vmc.models.controller import LinearSettings, population_outputs
from vmc.models.dynamics.contract import Features
from vmc.models.two_hot import SYMEXP_BINS, expected_value

_CRITIC_UNITS = 128
_LEAST_SPREAD = 0.01


class StochasticActor(nn.Module):
    """C, whose outputs have noise: Gaussian, or for discrete actions Gumbel, whose largest output is then a draw.

    Args:
        shape: C's.
        first: its parameters at first, (N,).
        scale: of the noise: the standard deviation, or the temperature of the softmax.

    Attributes:
        weights: what is learnt, (N,): C's parameters times `spread`.
        spread: for each of C's parameters, (N,): that of the feature that it weighs, or 1.
        log_scale: the logarithm of the scale of each output's noise, (A,).
    """

    def __init__(self, shape: LinearSettings, first: Array, scale: float, is_discrete: bool) -> None:
        super().__init__()
        self._inputs, self._is_discrete = shape.inputs, is_discrete
        # The features are put side by side first, so that they are one input.
        self._single = replace(shape, inputs="z")
        self._layers = shape.layers
        self.weights = nn.Parameter(torch.from_numpy(np.asarray(first, np.float32)))
        self.spread = nn.Buffer(torch.ones(len(first)))
        self.log_scale = nn.Parameter(torch.full((shape.action_size,), float(np.log(scale))))

    @property
    def parameters_of_c(self) -> Array:
        """C without noise."""
        return (self.weights / self.spread).detach().cpu().numpy().astype(np.float64)

    @torch.no_grad()
    def rescale(self, spreads: Tensor) -> None:
        """Learns from now on as if C's inputs, whose spreads are (I,), had a spread of 1. C stays as it is.

        An input that hardly varies is not blown up: V does not use all of its latents.
        """
        spreads = spreads.clamp(min=_LEAST_SPREAD)
        outputs, inputs = self._layers[0]
        self.weights.div_(self.spread)
        self.spread[: outputs * inputs] = spreads.repeat(outputs)
        self.weights.mul_(self.spread)

    def inputs(self, features: Features) -> Tensor:
        """What C reads, side by side: (B, I)."""
        return torch.cat([features[name] for name in self._inputs], dim=-1)

    def forward(self, inputs: Tensor) -> Tensor:
        """C's outputs without noise, (B, A)."""
        return population_outputs(self._single, (self.weights / self.spread)[None], {"z": inputs})

    def noisy(self, outputs: Tensor, drawn: Tensor) -> Tensor:
        """Outputs and noise that `draw_output_noise` drew."""
        return outputs + self.log_scale.exp() * drawn

    def likelihood(self, outputs: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of what was drawn, and the entropy, each without the last dimension."""
        scale = self.log_scale.exp()
        if self._is_discrete:
            logs = (outputs / scale).log_softmax(dim=-1)
            chosen = noisy.argmax(dim=-1, keepdim=True)
            return logs.gather(-1, chosen).squeeze(-1), -(logs.exp() * logs).sum(dim=-1)
        normal = torch.distributions.Normal(outputs, scale, validate_args=False)
        return normal.log_prob(noisy).sum(dim=-1), normal.entropy().sum(dim=-1)


def first_parameters(shape: LinearSettings, rng: np.random.Generator) -> Array:
    """Hidden layers by their number of inputs (He et al., 2015); the last layer is zero, so that C begins at rest."""
    parts = []
    for number, (outputs, inputs) in enumerate(shape.layers, start=1):
        scale = 0.0 if number == len(shape.layers) else inputs**-0.5
        parts += [scale * rng.standard_normal(outputs * inputs), np.zeros(outputs)]
    return np.concatenate(parts)


class Critic(nn.Module):
    """Features to the logits of the bins of a return (two-hot); it begins with a value of 0 everywhere."""

    bins: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, _CRITIC_UNITS), nn.LayerNorm(_CRITIC_UNITS), nn.SiLU())
        self.head = nn.Linear(_CRITIC_UNITS, len(SYMEXP_BINS))
        self.register_buffer("bins", SYMEXP_BINS, persistent=False)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.hidden(features))  # type: ignore[no-any-return]

    def value(self, features: Tensor) -> Tensor:
        """The expected return, in the environment's units."""
        return expected_value(self(features), self.bins)


def lambda_returns(rewards: Tensor, values: Tensor, discounts: Tensor, trace: float) -> Tensor:
    """R_t = r_t + d_t ((1 - lambda) v_{t+1} + lambda R_{t+1}), and R_T = v_T.

    Args:
        rewards, discounts: (T, ...); a discount is 0 where the step terminates.
        values: of all frames, (T + 1, ...).
        trace: lambda.

    Returns:
        (T, ...).
    """
    following, returns = values[-1], []
    for t in reversed(range(len(rewards))):
        following = rewards[t] + discounts[t] * ((1 - trace) * values[t + 1] + trace * following)
        returns.append(following)
    return torch.stack(returns[::-1])


def optimizer_arrays(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """The moments of Adam, by names that begin with the prefix."""
    states = optimizer.state_dict()["state"].items()
    return {f"{prefix}.{number}.{name}": value for number, moments in states for name, value in moments.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Puts back what `optimizer_arrays` gave."""
    stored, mine = optimizer.state_dict(), with_prefix(f"{prefix}.", tensors)
    numbers = sorted({int(name.split(".")[0]) for name in mine})
    stored["state"] = {number: with_prefix(f"{number}.", mine) for number in numbers}
    optimizer.load_state_dict(stored)


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose name has the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, npt.NDArray[np.generic]]:
    """Copies in NumPy."""
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}
