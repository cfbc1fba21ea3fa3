"""From a controller's unbounded outputs to actions: one function for the environment, M and the dream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ActionSquash:
    """action = clip(offset + scale * tanh(u), low, high), per action dimension.

    With offset and scale at the middle and half-width of a Box this fills the Box. CarRacing (hardmaru's
    `carracing/model.py`): steer tanh(u), gas (tanh(u) + 1) / 2, brake max(tanh(u), 0).

    Attributes:
        offset, scale, low, high: float32, (A,).
    """

    offset: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]

    @classmethod
    def from_bounds(cls, low: Any, high: Any) -> ActionSquash:
        """The squash that fills a Box with these bounds, each (A,)."""
        low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
        return cls((high + low) / 2, (high - low) / 2, low, high)

    @property
    def size(self) -> int:
        """A, the number of action dimensions."""
        return len(self.low)

    def __call__(self, outputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """NumPy: (..., A) outputs to (..., A) float32 actions."""
        squashed = self.offset + self.scale * np.tanh(outputs, dtype=np.float32)
        action: npt.NDArray[np.float32] = np.clip(squashed, self.low, self.high)
        return action

    def torch(self, outputs: torch.Tensor) -> torch.Tensor:
        """PyTorch: (..., A) outputs to (..., A) actions, on the outputs' device and in their type."""
        offset, scale, low, high = (
            outputs.new_tensor(bound) for bound in (self.offset, self.scale, self.low, self.high)
        )
        return (offset + scale * outputs.tanh()).clamp(low, high)
