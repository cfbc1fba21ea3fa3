"""The gated recurrent unit (Cho et al., 2014), in cuDNN's form: the reset gate after the product."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import linear

from vmc.models.dynamics.mdn import MDN, Memory


class GRU(MDN):
    """The memory is h. 3H(I + H) weights and, as PyTorch counts, 6H biases."""

    def make_network(self, input_size: int, hidden_size: int) -> None:
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True)

    def unroll(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        outputs, h = self.gru(inputs, memory[0].unsqueeze(0))
        return outputs, (h.squeeze(0),)

    def step(self, inputs: Tensor, memory: Memory) -> Memory:
        return (gru_step(self.gru, inputs, memory[0]),)


def gru_step(gru: nn.GRU, inputs: Tensor, h: Tensor) -> Tensor:
    """`torch.gru_cell` in operators that can be exported: inputs (B, I) and h (B, H) to the next h."""
    weight_inputs, weight_h, bias_inputs, bias_h = gru.all_weights[0]
    reset, update, new = linear(inputs, weight_inputs, bias_inputs).chunk(3, dim=1)
    reset_h, update_h, new_h = linear(h, weight_h, bias_h).chunk(3, dim=1)
    candidate = (new + (reset + reset_h).sigmoid() * new_h).tanh()
    return candidate + (update + update_h).sigmoid() * (h - candidate)
