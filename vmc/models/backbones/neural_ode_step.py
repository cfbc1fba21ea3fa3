"""The Euler integrator's step without torch."""

from __future__ import annotations

import numpy as np

from vmc.models.backbones.contract import Array, MakeLinear, Weights
from vmc.models.fastmath import compiled, tanh

EULER_STEPS = 4


class NeuralODEStep:
    """See `Step`."""

    def __init__(self, weights: Weights, make_linear: MakeLinear) -> None:
        bias = weights["inputs.bias"]
        self._drive = make_linear(weights["inputs.weight"], bias)
        self._recurrent = make_linear(weights["recurrent.weight"], np.zeros_like(bias))

    def __call__(self, inputs: Array, h: Array, c: Array) -> tuple[Array, Array]:
        drive = self._drive(inputs)
        for _ in range(EULER_STEPS):
            next_h = np.empty_like(h)
            euler(drive, self._recurrent(h), h, next_h)
            h = next_h
        return h, c


@compiled
def euler(drive: Array, recurrent: Array, h: Array, next_h: Array) -> None:
    """One of Euler's steps, all (B, H)."""
    part = np.float32(1 / EULER_STEPS)
    for row in range(len(h)):
        for unit in range(h.shape[1]):
            next_h[row, unit] = h[row, unit] + part * (tanh(drive[row, unit] + recurrent[row, unit]) - h[row, unit])
