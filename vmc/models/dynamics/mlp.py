"""No memory: two layers with GELU (Hendrycks & Gimpel, 2016). It shows what the memory of the other kinds is worth."""

from __future__ import annotations

from torch import Tensor, nn

from vmc.models.dynamics.mdn import MDN, Memory


class MLP(MDN):
    """h is a function of this step's z and action alone. (I + H)H weights and 2H biases."""

    def make_network(self, input_size: int, hidden_size: int) -> None:
        first, second = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        self.mlp = nn.Sequential(first, nn.GELU("tanh"), second, nn.GELU("tanh"))

    def unroll(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        outputs = self.mlp(inputs)
        return outputs, (outputs[:, -1],)

    def step(self, inputs: Tensor, memory: Memory) -> Memory:
        return (self.mlp(inputs),)
