"""What moves an RSSM's h: a GRU as in PlaNet and Dreamer, an LSTM, or a transformer (TransDreamer)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vmc.models.dynamics.gru import gru_step
from vmc.models.dynamics.mdn import Memory
from vmc.models.dynamics.transformer import CausalTransformer


class GRURecurrence(nn.Module):
    """The memory is h."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self.gru = nn.GRU(size, size, batch_first=True)

    def empty(self, latents: Tensor) -> Memory:
        """The memory at the first frame of B episodes, on the device of the latents (B, Z)."""
        return (_zeros(latents, self._size),)

    def step(self, inputs: Tensor, memory: Memory) -> Memory:
        """Inputs (B, H) and the memory before, to the memory after."""
        return (gru_step(self.gru, inputs, memory[0]),)


class LSTMRecurrence(nn.Module):
    """The memory is h and the cell."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self.lstm = nn.LSTM(size, size, batch_first=True)

    def empty(self, latents: Tensor) -> Memory:
        """The memory at the first frame of B episodes, on the device of the latents (B, Z)."""
        return _zeros(latents, self._size), _zeros(latents, self._size)

    def step(self, inputs: Tensor, memory: Memory) -> Memory:
        """Inputs (B, H) and the memory before, to the memory after."""
        weight_inputs, weight_h, bias_inputs, bias_h = self.lstm.all_weights[0]
        h, cell = memory
        gates = nn.functional.linear(inputs, weight_inputs, bias_inputs) + nn.functional.linear(h, weight_h, bias_h)
        enter, forget, new, leave = gates.chunk(4, dim=1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        return leave.sigmoid() * cell.tanh(), cell


def _transformer(size: int) -> CausalTransformer:
    return CausalTransformer(size, size)


# By name: from the width of h and of the inputs to a module with `empty` and `step`.
RECURRENCES: dict[str, Callable[[int], Any]] = {
    "gru": GRURecurrence,
    "lstm": LSTMRecurrence,
    "transformer": _transformer,
}


def _zeros(latents: Tensor, size: int) -> Tensor:
    # Not `new_zeros`, which an exported graph would hold as a constant.
    return torch.zeros_like(latents[:, :1]).expand(-1, size).clone()
