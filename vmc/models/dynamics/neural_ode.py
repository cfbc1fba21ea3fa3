"""Continuous dynamics (Chen et al., 2018) by Euler's method: dh/dt = tanh(U h + W x) - h, over one unit of time.

This is the continuous-time recurrent network of Funahashi & Nakamura (1993). The -h keeps every |h| below 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmc.models.dynamics.mdn import MDN, Memory

EULER_STEPS = 4


class NeuralODE(MDN):
    """The memory is h. Every Euler step has the same weights and inputs. H(I + H) weights and H biases."""

    def make_network(self, input_size: int, hidden_size: int) -> None:
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)

    def unroll(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        (h,), outputs = memory, []
        for drive in self.inputs(inputs).unbind(dim=1):
            h = self._integrate(drive, h)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (h,)

    def step(self, inputs: Tensor, memory: Memory) -> Memory:
        return (self._integrate(self.inputs(inputs), memory[0]),)

    def _integrate(self, drive: Tensor, h: Tensor) -> Tensor:
        for _ in range(EULER_STEPS):
            h = h + ((drive + self.recurrent(h)).tanh() - h) / EULER_STEPS
        return h
