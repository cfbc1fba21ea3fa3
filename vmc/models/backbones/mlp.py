"""No recurrence: two layers with GELU (Hendrycks & Gimpel, 2016). What memory is worth shows against this one."""

from __future__ import annotations

from torch import Tensor, nn

from vmc.models.backbones.contract import Hidden


class MLP(nn.Sequential):
    """h is the feature of this step's z and action alone. (I + H)H weights and 2H biases."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        # GELU's tanh form, which is within 0.0005 of the other and needs no error function in the dream.
        first, second = nn.Linear(input_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        super().__init__(first, nn.GELU("tanh"), second, nn.GELU("tanh"))

    def unroll(self, inputs: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        outputs = self(inputs)
        return outputs, Hidden(outputs[:, -1], hidden.c)

    def step(self, inputs: Tensor, hidden: Hidden) -> Hidden:
        return Hidden(self(inputs), hidden.c)
