"""The perceptron's step without torch."""

from __future__ import annotations

import numpy as np

from vmc.models.backbones.contract import Array, MakeLinear, Weights
from vmc.models.fastmath import compiled, sigmoid


class MLPStep:
    """See `Step`."""

    def __init__(self, weights: Weights, make_linear: MakeLinear) -> None:
        self._layers = [make_linear(weights[f"{n}.weight"], weights[f"{n}.bias"]) for n in (0, 2)]

    def __call__(self, inputs: Array, h: Array, c: Array) -> tuple[Array, Array]:
        values = inputs
        for layer in self._layers:
            values = layer(values)
            gelu(values)
        return values, c


@compiled
def gelu(values: Array) -> None:
    """GELU in its tanh form, in place: x times the sigmoid of 2 sqrt(2 / pi) (x + 0.044715 x^3); values (B, H)."""
    scale, cubic = np.float32(np.sqrt(8 / np.pi)), np.float32(0.044715)
    for row in range(len(values)):
        for unit in range(values.shape[1]):
            x = values[row, unit]
            values[row, unit] = x * sigmoid(scale * (x + cubic * x * x * x))
