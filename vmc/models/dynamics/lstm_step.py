"""The LSTM without torch: `torch.lstm_cell` with its two products as one, for an agent's loop and dreams on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vmc.models.dynamics import Array, Arrays
from vmc.models.dynamics.state import State
from vmc.models.fastmath import compiled, exp

# From weight (O, I) and bias (O,) to a function from (B, I) to (B, O).
Layer = Callable[[Array], Array]
MakeLayer = Callable[[Array, Array], Layer]


class LSTMStep:
    """See `StepModel`; the state is z (Z,), h and c (H,)."""

    def __init__(self, weights: Arrays, graphs: Mapping[str, bytes]) -> None:
        self._gates = gates_layer(weights, _for_one_row)
        self._zeros = np.zeros(weights["lstm.weight_hh_l0"].shape[1], np.float32)

    def initial(self, latent: Array) -> State:
        return State((latent, self._zeros, self._zeros))

    def observe(self, state: State, action: Array, latent: Array) -> State:
        z, h, c = state
        (h,), (c,) = move(self._gates, np.concatenate([z, action])[None], h[None], c[None])
        return State((latent, h, c))

    def features(self, state: State) -> Mapping[str, Array]:
        return {"z": state[0], "h": state[1], "c": state[2]}


def gates_layer(weights: Arrays, make_layer: MakeLayer) -> Layer:
    """The layer from [inputs, h], (B, I + H), to the sums of the gates, (B, 4H) in PyTorch's order i, f, g, o."""
    weight = np.concatenate([weights["lstm.weight_ih_l0"], weights["lstm.weight_hh_l0"]], axis=1)
    return make_layer(weight, weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"])


def move(gates: Layer, inputs: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """One step: inputs (B, I) and the memory (B, H) before it to the memory after it, in arrays of its own."""
    next_h, next_c = np.empty_like(c), np.empty_like(c)
    lstm_cell(gates(np.concatenate([inputs, h], axis=1)), c, next_h, next_c)
    return next_h, next_c


def _for_one_row(weight: Array, bias: Array) -> Layer:
    return lambda inputs: (weight @ inputs[0] + bias)[None]


@compiled
def lstm_cell(gates: Array, c: Array, next_h: Array, next_c: Array) -> None:
    """The memory from the gates' sums: c' = f * c + i * g, h' = o * tanh(c'), all of it in one pass."""
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
