"""The Gaussian mixture over the next latent: one per latent dimension (hardmaru's `rnn.py`; paper, appendix A.2)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# exp(-7) = 0.0009: far below any latent's spread; the clamp keeps one lucky point from owning the likelihood.
MIN_LOG_STD = -7.0
MAX_LOG_STD = 3.0


class Mixture(NamedTuple):
    """A mixture of K Gaussians for each latent dimension, each field (..., Z, K)."""

    log_weights: Tensor
    means: Tensor
    log_stds: Tensor


def mixture_from_outputs(outputs: Tensor, latent_size: int) -> Mixture:
    """(..., 3 * Z * K) raw outputs to a mixture: log-softmax over K, log-stds clamped."""
    return mixture_from_fields(outputs.unflatten(-1, (3, latent_size, -1)))


def mixture_from_fields(fields: Tensor) -> Mixture:
    """The same from (..., 3, Z, K)."""
    logits, means, log_stds = fields.unbind(dim=-3)
    return Mixture(logits.log_softmax(dim=-1), means, log_stds.clamp(MIN_LOG_STD, MAX_LOG_STD))


def negative_log_likelihood(mixture: Mixture, latents: Tensor) -> Tensor:
    """-log p(z) per latent dimension in nats: latents (..., Z) to (..., Z), by log-sum-exp over K.

    p is a density, so where the mixture is narrower than 1 / sqrt(2 pi e) this is below zero.
    """
    standardised = (latents.unsqueeze(-1) - mixture.means) * torch.exp(-mixture.log_stds)
    log_normal = -0.5 * (standardised.square() + math.log(2 * math.pi)) - mixture.log_stds
    return -torch.logsumexp(mixture.log_weights + log_normal, dim=-1)


def sample_mixture(mixture: Mixture, uniform: Tensor, normal: Tensor, temperature: float) -> Tensor:
    """Samples the next latent, (..., Z).

    The temperature divides the mixture's logits and scales the noise by its square root (hardmaru's
    `doomrnn/model.py`). The component is found by inverting the weights' cumulative sum, so the same `uniform` and
    `normal` give comparable samples for every candidate of a generation.

    Args:
        uniform: U(0, 1), broadcastable to (..., Z).
        normal: N(0, 1), broadcastable to (..., Z).
        temperature: above 0; 1 samples the model's own distribution.
    """
    cumulative = (mixture.log_weights / temperature).softmax(dim=-1).cumsum(dim=-1)
    # The last sum may fall short of 1 by rounding, so leave it out: what exceeds all others is the last.
    component = (uniform.unsqueeze(-1) >= cumulative[..., :-1]).sum(dim=-1, keepdim=True)
    mean = mixture.means.gather(-1, component).squeeze(-1)
    log_std = mixture.log_stds.gather(-1, component).squeeze(-1)
    return mean + torch.exp(log_std) * normal * math.sqrt(temperature)
