"""The Gaussian mixture over the next latent: one per latent dimension (hardmaru's `rnn.py`; paper, appendix A.2).

Or one for all dimensions. The two differ in W, the number of sets of component weights, and in nothing else: each set
serves Z / W dimensions, which choose their component together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# exp(-7) = 0.0009: far below any latent's spread; the clamp keeps one lucky point from owning the likelihood.
MIN_LOG_STD = -7.0
MAX_LOG_STD = 3.0


class Mixture(NamedTuple):
    """W mixtures of K Gaussians: log_weights (..., W, K), means and log_stds (..., Z, K)."""

    log_weights: Tensor
    means: Tensor
    log_stds: Tensor


def mixture_from_outputs(outputs: Tensor, latent_size: int, num_mixtures: int) -> Mixture:
    """(..., (W + 2 * Z) * K) raw outputs to a mixture: log-softmax over K, log-stds clamped."""
    size = latent_size * num_mixtures
    parts = outputs.split([outputs.shape[-1] - 2 * size, size, size], dim=-1)
    return mixture_from_parts(*(part.unflatten(-1, (-1, num_mixtures)) for part in parts))


def mixture_from_parts(logits: Tensor, means: Tensor, log_stds: Tensor) -> Mixture:
    """The same from (..., W, K) and twice (..., Z, K)."""
    return Mixture(logits.log_softmax(dim=-1), means, log_stds.clamp(MIN_LOG_STD, MAX_LOG_STD))


def of_dimensions(mixture: Mixture, dimensions: Tensor) -> Mixture:
    """The mixture over some of the latent dimensions, given by their numbers (D,)."""
    own = mixture.log_weights.shape[-2] > 1
    log_weights = mixture.log_weights[..., dimensions, :] if own else mixture.log_weights
    return Mixture(log_weights, mixture.means[..., dimensions, :], mixture.log_stds[..., dimensions, :])


def negative_log_likelihood(mixture: Mixture, latents: Tensor) -> Tensor:
    """-log p(z) in nats per latent dimension: latents (..., Z) to (...), by log-sum-exp over K.

    p is a density, so where the mixture is narrower than 1 / sqrt(2 pi e) this is below zero.
    """
    standardised = (latents.unsqueeze(-1) - mixture.means) * torch.exp(-mixture.log_stds)
    log_normal = -0.5 * (standardised.square() + math.log(2 * math.pi)) - mixture.log_stds
    # The dimensions that share their weights are one Gaussian of as many dimensions.
    together = log_normal.unflatten(-2, (mixture.log_weights.shape[-2], -1)).sum(dim=-2)
    return -torch.logsumexp(mixture.log_weights + together, dim=-1).sum(dim=-1) / latents.shape[-1]


def sample_mixture(mixture: Mixture, uniform: Tensor, normal: Tensor, temperature: float) -> Tensor:
    """Samples the next latent, (..., Z).

    The temperature divides the mixture's logits and scales the noise by its square root (hardmaru's
    `doomrnn/model.py`). The component is found by inverting the weights' cumulative sum, so the same `uniform` and
    `normal` give comparable samples for every candidate of a generation.

    Args:
        uniform: U(0, 1), broadcastable to (..., Z); the first W of them are used.
        normal: N(0, 1), broadcastable to (..., Z).
        temperature: above 0; 1 samples the model's own distribution.
    """
    cumulative = (mixture.log_weights / temperature).softmax(dim=-1).cumsum(dim=-1)
    # The last sum may fall short of 1 by rounding, so leave it out: what exceeds all others is the last.
    uniform = uniform[..., : cumulative.shape[-2]]
    component = (uniform.unsqueeze(-1) >= cumulative[..., :-1]).sum(dim=-1, keepdim=True)
    component = component.expand(*mixture.means.shape[:-1], 1)
    mean = mixture.means.gather(-1, component).squeeze(-1)
    log_std = mixture.log_stds.gather(-1, component).squeeze(-1)
    return mean + torch.exp(log_std) * normal * math.sqrt(temperature)
