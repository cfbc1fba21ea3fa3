"""What a dream computes between its matrix products, fused and vectorised for the CPU.

In PyTorch these are two dozen passes over memory, which cost more than the products themselves. Here each is one
pass, compiled by numba, with float32 polynomials in place of library calls so that whole vectors are computed at once.
The same mathematics in PyTorch: `torch.lstm_cell` and `vmc.models.mixture.sample_mixture` (tests compare them).
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

numba: Any = importlib.import_module("numba")
extending: Any = importlib.import_module("numba.extending")

Array = Any  # the kernels' array types are the caller's; numba's decorator is untyped
_compile = numba.njit(cache=True, fastmath=True, error_model="numpy")
_inline = numba.njit(fastmath=True, error_model="numpy", inline="always")

_f = np.float32
_HALF, _ONE = _f(0.5), _f(1)
_LOG2_E, _LN2_HIGH, _LN2_LOW = _f(1.44269504), _f(0.693359375), _f(-2.12194440e-4)
_EXP_LOWEST = _f(-87)
# Cephes' expf: exp(x) = 1 + x + x^2 p(x) for |x| < ln(2) / 2.
_P0, _P1, _P2 = _f(1.9875691500e-4), _f(1.3981999507e-3), _f(8.3334519073e-3)
_P3, _P4, _P5 = _f(4.1665795894e-2), _f(1.6666665459e-1), _f(5.0000001201e-1)


@extending.intrinsic  # type: ignore[untyped-decorator]
def _float_of_bits(context: Any, bits: Any) -> Any:
    """The float32 with these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(numba.float32))

    return numba.float32(numba.int32), generate


@_inline  # type: ignore[untyped-decorator]
def _exp(x: Any) -> Any:
    """exp(x) for x <= 88, to 2 units in the last place; 0 to within 1e-38 below -87."""
    x = max(x, _EXP_LOWEST)
    power = np.floor(x * _LOG2_E + _HALF)
    x = x - power * _LN2_HIGH - power * _LN2_LOW
    series = ((((_P0 * x + _P1) * x + _P2) * x + _P3) * x + _P4) * x + _P5
    series = series * x * x + x + _ONE
    return series * _float_of_bits(np.int32((np.int32(power) + np.int32(127)) << np.int32(23)))


@_compile  # type: ignore[untyped-decorator]
def lstm_cell(gates: Array, c: Array, next_h: Array, next_c: Array) -> None:
    """The LSTM's state from its gates' sums: gates (B, 4H) in PyTorch's order i, f, g, o; the states (B, H)."""
    size = c.shape[1]
    limit = _f(20)  # beyond it both functions are 0 or 1 to the last bit, and exp(2x) stays finite
    for row in range(len(gates)):
        update, keep = gates[row, :size], gates[row, size : 2 * size]
        new, output = gates[row, 2 * size : 3 * size], gates[row, 3 * size :]
        for unit in range(size):
            i = _exp(-max(min(update[unit], limit), -limit))
            f = _exp(-max(min(keep[unit], limit), -limit))
            g = _exp(-_f(2) * max(min(new[unit], limit), -limit))
            o = _exp(-max(min(output[unit], limit), -limit))
            cell = c[row, unit] / (_ONE + f) + (_ONE - g) / ((_ONE + i) * (_ONE + g))
            t = _exp(-_f(2) * max(min(cell, limit), -limit))
            next_c[row, unit] = cell
            next_h[row, unit] = (_ONE - t) / ((_ONE + o) * (_ONE + t))


@_compile  # type: ignore[untyped-decorator]
def sample(
    outputs: Array, uniform: Array, normal: Array, temperature: float, log_stds: tuple[float, float], latents: Array
) -> None:
    """Draws latents (B, Z) from the mixture's raw outputs.

    Args:
        outputs: (B, 3 * K * Z + 2): logits, means, log standard deviations, each (K, Z), and two more.
        uniform, normal: (B, Z).
        log_stds: bounds of the log standard deviations.
    """
    z = latents.shape[1]
    k = outputs.shape[1] // (3 * z)
    sharpness, spread = _f(1.0 / temperature), _f(np.sqrt(temperature))
    lowest, highest = _f(log_stds[0]), _f(log_stds[1])
    weights, top = np.empty((k, z), np.float32), np.empty(z, np.float32)
    target, cumulative = np.empty(z, np.float32), np.empty(z, np.float32)
    mean, log_std = np.empty(z, np.float32), np.empty(z, np.float32)
    for row in range(len(outputs)):
        for j in range(z):
            top[j] = outputs[row, j]
        for component in range(1, k):
            for j in range(z):
                top[j] = max(top[j], outputs[row, component * z + j])
        for j in range(z):
            target[j] = _f(0)
        for component in range(k):
            for j in range(z):
                weights[component, j] = _exp((outputs[row, component * z + j] - top[j]) * sharpness)
                target[j] += weights[component, j]
        for j in range(z):
            target[j] *= uniform[row, j]
            cumulative[j] = weights[0, j]
            mean[j] = outputs[row, k * z + j]
            log_std[j] = outputs[row, 2 * k * z + j]
        for component in range(1, k):
            for j in range(z):
                beyond = target[j] >= cumulative[j]
                mean[j] = outputs[row, (k + component) * z + j] if beyond else mean[j]
                log_std[j] = outputs[row, (2 * k + component) * z + j] if beyond else log_std[j]
                cumulative[j] += weights[component, j]
        for j in range(z):
            std = _exp(max(min(log_std[j], highest), lowest)) * spread
            latents[row, j] = mean[j] + std * normal[row, j]
