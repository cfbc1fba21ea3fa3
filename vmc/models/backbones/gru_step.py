"""The GRU's step without torch: `torch.gru_cell`."""

from __future__ import annotations

import numpy as np

from vmc.models.backbones.contract import Array, MakeLinear, Weights
from vmc.models.fastmath import compiled, sigmoid, tanh


class GRUStep:
    """See `Step`. Two products, since the new gate scales what comes from h before it adds what comes from z."""

    def __init__(self, weights: Weights, make_linear: MakeLinear) -> None:
        self._from_inputs = make_linear(weights["weight_ih_l0"], weights["bias_ih_l0"])
        self._from_h = make_linear(weights["weight_hh_l0"], weights["bias_hh_l0"])

    def __call__(self, inputs: Array, h: Array, c: Array) -> tuple[Array, Array]:
        next_h = np.empty_like(h)
        gru_cell(self._from_inputs(inputs), self._from_h(h), h, next_h)
        return next_h, c


@compiled
def gru_cell(from_inputs: Array, from_h: Array, h: Array, next_h: Array) -> None:
    """The GRU's state from both products, each (B, 3H) in PyTorch's order r, z, n; the states (B, H)."""
    size = h.shape[1]
    for row in range(len(h)):
        for unit in range(size):
            reset = sigmoid(from_inputs[row, unit] + from_h[row, unit])
            keep = sigmoid(from_inputs[row, size + unit] + from_h[row, size + unit])
            new = tanh(from_inputs[row, 2 * size + unit] + reset * from_h[row, 2 * size + unit])
            next_h[row, unit] = new + keep * (h[row, unit] - new)
