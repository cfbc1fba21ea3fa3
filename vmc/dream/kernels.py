"""What a dream computes between its matrix products, fused and vectorised for the CPU: here the mixture's part.

In PyTorch these are two dozen passes over memory, which cost more than the products themselves. Here each is one
pass, compiled by numba. The backbones' parts are beside them, in `vmc.models.backbones`. The same mathematics in
PyTorch: `vmc.models.mixture.sample_mixture` (tests compare them).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vmc.models.fastmath import compiled, exp

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
def sample(
    outputs: Array,
    num_mixtures: int,
    uniform: Array,
    normal: Array,
    temperature: float,
    log_stds: tuple[float, float],
    latents: Array,
) -> None:
    """Draws latents (B, Z) from the mixture's raw outputs.

    Args:
        outputs: (B, K * (W + 2 * Z) + 2): logits (K, W), means and log standard deviations (K, Z), and two more.
        num_mixtures: K.
        uniform, normal: (B, Z); the first W of `uniform` are used.
        log_stds: bounds of the log standard deviations.
    """
    k, z = num_mixtures, latents.shape[1]
    w = (outputs.shape[1] - 2) // k - 2 * z
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
