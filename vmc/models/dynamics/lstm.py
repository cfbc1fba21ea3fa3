"""The paper's LSTM (paper, appendix A.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vmc.models.dynamics.lstm_step import gates_layer, move
from vmc.models.dynamics.mdn import MDN, Memory
from vmc.models.packed_linear import packed_linear


class LSTM(MDN):
    """The memory is the hidden vector h and the cell c, (B, H) each.

    4H(I + H) weights and 4H biases. PyTorch counts a second bias vector of 4H: the paper's M has 422,368 parameters
    for Z 32, A 3, H 256, K 5; with that vector (1,024) and the reward and termination heads (514) it is 423,906 here.
    """

    def make_network(self, input_size: int, hidden_size: int) -> None:
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)

    @property
    def memory_sizes(self) -> dict[str, int]:
        return {"h": self.settings.hidden_size, "c": self.settings.hidden_size}

    def unroll(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        outputs, last = self.lstm(inputs, tuple(part.unsqueeze(0) for part in memory))
        return outputs, tuple(part.squeeze(0) for part in last)

    def step(self, inputs: Tensor, memory: Memory) -> Memory:
        h, c = torch.lstm_cell(inputs, memory, *self.lstm.all_weights[0])
        return h, c

    def frozen_step(self) -> Callable[[Tensor, Memory], Memory]:
        """On a CPU: one packed product and one compiled kernel."""
        if self.reward_scale.device.type != "cpu":
            return self.step
        gates = gates_layer({name: tensor.numpy() for name, tensor in self.state_dict().items()}, packed_linear)

        def step(inputs: Tensor, memory: Memory) -> Memory:
            moved = move(gates, inputs.numpy(), *(part.numpy() for part in memory))
            return tuple(map(torch.from_numpy, moved))

        return step
