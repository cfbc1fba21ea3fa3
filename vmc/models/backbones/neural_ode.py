"""Continuous dynamics (Chen et al., 2018) by Euler's method: dh/dt = tanh(U h + W x) - h, over one unit of time.

That is the continuous-time recurrent network of Funahashi & Nakamura (1993). The -h keeps every |h| below 1 however
long an episode is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmc.models.backbones.contract import Hidden
from vmc.models.backbones.neural_ode_step import EULER_STEPS


class NeuralODE(nn.Module):
    """The same weights in each of Euler's steps, the inputs constant over them. H(I + H) weights and H biases."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)

    def unroll(self, inputs: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        h, outputs = hidden.h, []
        for drive in self.inputs(inputs).unbind(dim=1):
            h = self._integrate(drive, h)
            outputs.append(h)
        return torch.stack(outputs, dim=1), Hidden(h, hidden.c)

    def step(self, inputs: Tensor, hidden: Hidden) -> Hidden:
        return Hidden(self._integrate(self.inputs(inputs), hidden.h), hidden.c)

    def _integrate(self, drive: Tensor, h: Tensor) -> Tensor:
        for _ in range(EULER_STEPS):
            h = h.lerp((drive + self.recurrent(h)).tanh(), 1 / EULER_STEPS)
        return h
