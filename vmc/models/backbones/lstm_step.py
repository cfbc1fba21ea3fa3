"""The LSTM's step without torch: `torch.lstm_cell`, its two products as one."""

from __future__ import annotations

import numpy as np

from vmc.models.backbones.contract import Array, MakeLinear, Weights
from vmc.models.fastmath import compiled, exp


class LSTMStep:
    """See `Step`."""

    def __init__(self, weights: Weights, make_linear: MakeLinear) -> None:
        weight = np.concatenate([weights["weight_ih_l0"], weights["weight_hh_l0"]], axis=1)
        self._gates = make_linear(weight, weights["bias_ih_l0"] + weights["bias_hh_l0"])

    def __call__(self, inputs: Array, h: Array, c: Array) -> tuple[Array, Array]:
        gates = self._gates(np.concatenate([inputs, h], axis=1))
        next_h, next_c = np.empty_like(c), np.empty_like(c)
        lstm_cell(gates, c, next_h, next_c)
        return next_h, next_c


@compiled
def lstm_cell(gates: Array, c: Array, next_h: Array, next_c: Array) -> None:
    """The LSTM's state from its gates' sums: gates (B, 4H) in PyTorch's order i, f, g, o; the states (B, H)."""
    size = c.shape[1]
    limit = np.float32(20)  # beyond it both functions are 0 or 1 to the last bit, and exp(2x) stays finite
    one, two = np.float32(1), np.float32(2)
    for row in range(len(gates)):
        update, keep = gates[row, :size], gates[row, size : 2 * size]
        new, output = gates[row, 2 * size : 3 * size], gates[row, 3 * size :]
        for unit in range(size):
            i = exp(-max(min(update[unit], limit), -limit))
            f = exp(-max(min(keep[unit], limit), -limit))
            g = exp(-two * max(min(new[unit], limit), -limit))
            o = exp(-max(min(output[unit], limit), -limit))
            cell = c[row, unit] / (one + f) + (one - g) / ((one + i) * (one + g))
            t = exp(-two * max(min(cell, limit), -limit))
            next_c[row, unit] = cell
            next_h[row, unit] = (one - t) / ((one + o) * (one + t))
