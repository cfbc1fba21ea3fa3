"""The stochastic part of a recurrent state-space model: categorical variables, or Gaussians."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vmc.models.dynamics.noise import NoiseSizes

# No class is rarer than 1% of a uniform draw (DreamerV3: Hafner et al., 2023, appendix B).
UNIFORM_SHARE = 0.01


class Categorical:
    """s as variables of some classes, one-hot; its gradient passes straight through (DreamerV2, DreamerV3)."""

    def __init__(self, num_variables: int, num_classes: int) -> None:
        self._variables, self._classes = num_variables, num_classes
        self.size = self.num_outputs = self._variables * self._classes
        self.noise_sizes = NoiseSizes(self._variables, 0)

    def probabilities(self, outputs: Tensor, temperature: float = 1.0) -> Tensor:
        """(..., V * C) outputs to (..., V, C): 1% is uniform."""
        shares = (outputs.unflatten(-1, (self._variables, self._classes)) / temperature).softmax(dim=-1)
        mixed: Tensor = (1 - UNIFORM_SHARE) * shares + UNIFORM_SHARE / self._classes
        return mixed

    def mode(self, outputs: Tensor) -> Tensor:
        return self._one_hot(outputs.unflatten(-1, (self._variables, self._classes)).argmax(dim=-1)).flatten(-2)

    def sample(self, outputs: Tensor, uniform: Tensor, temperature: float = 1.0) -> Tensor:
        """(..., V * C), by inverting the cumulative sum with U(0, 1), (..., V)."""
        probabilities = self.probabilities(outputs, temperature)
        # Without the last sum, which may fall short of 1 by rounding.
        chosen = (uniform.unsqueeze(-1) >= probabilities.cumsum(dim=-1)[..., :-1]).sum(dim=-1)
        return (self._one_hot(chosen) + probabilities - probabilities.detach()).flatten(-2)

    def divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """KL(q || p) in nats, (...)."""
        q, p = self.probabilities(posterior), self.probabilities(prior)
        return (q * (q.log() - p.log())).sum(dim=(-2, -1))

    def _one_hot(self, chosen: Tensor) -> Tensor:
        return F.one_hot(chosen, self._classes).to(torch.get_default_dtype())


class Gaussian:
    """s as independent Gaussians whose standard deviation is 0.1 at least (PlaNet)."""

    _MIN_STD = 0.1

    def __init__(self, num_variables: int) -> None:
        self.size = num_variables
        self.num_outputs = 2 * self.size
        self.noise_sizes = NoiseSizes(0, self.size)

    def mode(self, outputs: Tensor) -> Tensor:
        return outputs.chunk(2, dim=-1)[0]

    def sample(self, outputs: Tensor, normal: Tensor, temperature: float = 1.0) -> Tensor:
        mean, std = self._parts(outputs)
        sampled: Tensor = mean + std * normal * temperature**0.5
        return sampled

    def divergence(self, posterior: Tensor, prior: Tensor) -> Tensor:
        """KL(q || p) in nats, (...)."""
        (mean, std), (other, spread) = self._parts(posterior), self._parts(prior)
        ratio = std / spread
        return (0.5 * (ratio.square() + ((mean - other) / spread).square() - 1) - ratio.log()).sum(dim=-1)

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = outputs.chunk(2, dim=-1)
        return mean, F.softplus(raw) + self._MIN_STD
