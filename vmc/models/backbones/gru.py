"""The gated recurrent unit (Cho et al., 2014), in cuDNN's form: the reset gate after the product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmc.models.backbones.contract import Hidden


class GRU(nn.GRU):
    """3H(I + H) weights and, as PyTorch counts, 6H biases."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def unroll(self, inputs: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        outputs, h = self(inputs, hidden.h.unsqueeze(0))
        return outputs, Hidden(h.squeeze(0), hidden.c)

    def step(self, inputs: Tensor, hidden: Hidden) -> Hidden:
        return Hidden(torch.gru_cell(inputs, hidden.h, *self.all_weights[0]), hidden.c)
