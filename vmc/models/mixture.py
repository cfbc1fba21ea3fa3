"""The Gaussian mixture over the next latent: one per latent dimension (hardmaru's `rnn.py`; paper, appendix A.2).

Or one for all dimensions. The two differ in W, the number of sets of component weights, and in nothing else: each set
serves Z / W dimensions, which choose their component together.

Sampling stands here three times, with the same mathematics (tests compare them): `sample_mixture` is the reference;
`sample_latents` is for dreams, with one compiled pass on a CPU and few kernels on a GPU.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vmc.models.fastmath import compiled, exp

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
    """A mixture from logits (..., W, K), means and log-stds (..., Z, K)."""
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


def sample_latents(
    outputs: Tensor, sizes: tuple[int, int, int], uniform: Tensor, normal: Tensor, temperature: float
) -> Tensor:
    """`sample_mixture` of raw outputs, for dreams: (B, Z).

    Args:
        outputs: (B, K * (W + 2 * Z) or more): logits (K, W), means (K, Z) and log standard deviations (K, Z).
        sizes: K, W and Z.
        uniform, normal: (B, Z).
    """
    k, w, z = sizes
    if outputs.device.type == "cpu":
        latents = torch.empty(len(outputs), z)
        numbers = uniform.numpy(), normal.numpy()
        sample_on_cpu(outputs.numpy(), k, w, *numbers, temperature, (MIN_LOG_STD, MAX_LOG_STD), latents.numpy())
        return latents
    parts = outputs[:, : k * (w + 2 * z)].split([k * w, k * z, k * z], dim=1)
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


Array = Any  # the kernel's array types are the caller's
_f = np.float32


@compiled
def _weigh(logits: Array, uniform: Array, sharpness: Any, top: Array, weights: Array, target: Array) -> None:
    """From logits (K, W) a row's weights (K, Z), unnormalised, and uniform times their sums (Z,); `top` is scratch."""
    k, w = logits.shape
    for j in range(w):
        top[j] = logits[0, j]
        target[j] = _f(0)
    for component in range(1, k):
        for j in range(w):
            top[j] = max(top[j], logits[component, j])
    for component in range(k):
        for j in range(w):
            weights[component, j] = exp((logits[component, j] - top[j]) * sharpness)
            target[j] += weights[component, j]
    for j in range(w):
        target[j] *= uniform[j]
    # Dimensions without weights of their own have the first one's, and its random number.
    for j in range(w, len(target)):
        target[j] = target[0]
        for component in range(k):
            weights[component, j] = weights[component, 0]


@compiled
def sample_on_cpu(
    outputs: Array,
    num_mixtures: int,
    num_weight_sets: int,
    uniform: Array,
    normal: Array,
    temperature: float,
    log_stds: tuple[float, float],
    latents: Array,
) -> None:
    """`sample_mixture` in one pass over memory, which costs less than the matrix products beside it.

    In PyTorch these are two dozen passes, which cost more than the products.

    Args:
        outputs: (B, K * (W + 2 * Z) or more): logits (K, W), means and log standard deviations (K, Z).
        num_mixtures, num_weight_sets: K and W.
        uniform, normal: (B, Z); the first W of `uniform` are used.
        log_stds: bounds of the log standard deviations.
        latents: (B, Z), written to.
    """
    k, w, z = num_mixtures, num_weight_sets, latents.shape[1]
    sharpness, spread = _f(1.0 / temperature), _f(np.sqrt(temperature))
    lowest, highest = _f(log_stds[0]), _f(log_stds[1])
    weights, target = np.empty((k, z), np.float32), np.empty(z, np.float32)
    cumulative, mean, log_std = np.empty(z, np.float32), np.empty(z, np.float32), np.empty(z, np.float32)
    for row in range(len(outputs)):
        # Views, since numba checks the sign of an index that is computed, and then makes no vectors of the loop.
        logits = outputs[row, : k * w].reshape(k, w)
        means = outputs[row, k * w : k * (w + z)].reshape(k, z)
        stds = outputs[row, k * (w + z) : k * (w + 2 * z)].reshape(k, z)
        _weigh(logits, uniform[row], sharpness, cumulative, weights, target)
        for j in range(z):
            cumulative[j] = weights[0, j]
            mean[j] = means[0, j]
            log_std[j] = stds[0, j]
        for component in range(1, k):
            for j in range(z):
                beyond = target[j] >= cumulative[j]
                mean[j] = means[component, j] if beyond else mean[j]
                log_std[j] = stds[component, j] if beyond else log_std[j]
                cumulative[j] += weights[component, j]
        for j in range(z):
            std = exp(max(min(log_std[j], highest), lowest)) * spread
            latents[row, j] = mean[j] + std * normal[row, j]
