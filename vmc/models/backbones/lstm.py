"""The paper's LSTM (paper, appendix A.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vmc.models.backbones.contract import Hidden


class LSTM(nn.LSTM):
    """4H(I + H) weights and, as PyTorch counts, 8H biases."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)

    def unroll(self, inputs: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        outputs, (h, c) = self(inputs, (hidden.h.unsqueeze(0), hidden.c.unsqueeze(0)))
        return outputs, Hidden(h.squeeze(0), c.squeeze(0))

    def step(self, inputs: Tensor, hidden: Hidden) -> Hidden:
        h, c = torch.lstm_cell(inputs, (hidden.h, hidden.c), *self.all_weights[0])
        return Hidden(h, c)
