"""Maps from a controller's unbounded outputs to actions. The environment, M and the dream share one map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from vmc.errors import VmcError

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]
_DAMAGED = "The file that holds it is damaged: restore it from a copy."


class ActionMap(Protocol):
    """Maps outputs to actions, equally in NumPy and in PyTorch, and draws uniform actions."""

    @property
    def size(self) -> int:
        """A, the number of outputs and of action dimensions."""
        ...

    def __call__(self, outputs: npt.NDArray[Any]) -> Floats:
        """NumPy: (..., A) outputs to (..., A) float32 actions."""
        ...

    def torch(self, outputs: torch.Tensor) -> torch.Tensor:
        """PyTorch: (..., A) outputs to (..., A) actions, on the outputs' device and in their type."""
        ...

    def sample(self, rng: np.random.Generator) -> Floats:
        """A uniformly drawn action, (A,)."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Numbers and lists that `action_map_from_json` reads: they are kept with data and models."""
        ...


@dataclass(frozen=True, eq=False)
class BoxActionMap:
    """action = clip(offset + scale * tanh(u), low, high), per action dimension.

    If offset is the middle of a Box and scale its half-width, the actions fill the Box. CarRacing's map is that of
    hardmaru's `carracing/model.py`: steer tanh(u), gas (tanh(u) + 1) / 2, brake max(tanh(u), 0).

    Attributes:
        offset, scale, low, high: float32, (A,).
    """

    offset: Floats
    scale: Floats
    low: Floats
    high: Floats

    @classmethod
    def from_bounds(cls, low: Any, high: Any) -> BoxActionMap:
        """Makes the map whose actions fill a Box with these bounds, each (A,)."""
        low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
        return cls((high + low) / 2, (high - low) / 2, low, high)

    @property
    def size(self) -> int:
        """A, the number of action dimensions."""
        return len(self.low)

    def __call__(self, outputs: npt.NDArray[Any]) -> Floats:
        """NumPy: (..., A) outputs to (..., A) float32 actions."""
        squashed = self.offset + self.scale * np.tanh(outputs, dtype=np.float32)
        action: Floats = np.minimum(np.maximum(squashed, self.low), self.high)  # `np.clip` takes twice as long
        return action

    def torch(self, outputs: torch.Tensor) -> torch.Tensor:
        """PyTorch: (..., A) outputs to (..., A) actions, on the outputs' device and in their type."""
        offset, scale, low, high = _on_device(self, outputs.device, outputs.dtype)
        return (offset + scale * outputs.tanh()).clamp(low, high)

    def sample(self, rng: np.random.Generator) -> Floats:
        """A uniformly drawn action of the Box, (A,)."""
        return rng.uniform(self.low, self.high).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Its four vectors as lists."""
        return {name: getattr(self, name).tolist() for name in ("offset", "scale", "low", "high")}


@lru_cache(maxsize=8)
def _on_device(action_map: BoxActionMap, device: torch.device, dtype: torch.dtype) -> list[torch.Tensor]:
    """The map's arrays as tensors. They are cached because a copy in every step would wait for the GPU."""
    import torch

    bounds = action_map.offset, action_map.scale, action_map.low, action_map.high
    return [torch.as_tensor(bound, device=device, dtype=dtype) for bound in bounds]


@dataclass(frozen=True)
class OneHotActionMap:
    """Maps A outputs to the one-hot vector of the largest output. M receives a discrete action as this vector.

    Attributes:
        size: A, the number of discrete actions.
    """

    size: int

    def __call__(self, outputs: npt.NDArray[Any]) -> Floats:
        """NumPy: (..., A) outputs to (..., A) float32 one-hot vectors; of equal outputs the first is taken."""
        one_hot: Floats = np.eye(self.size, dtype=np.float32)[np.argmax(outputs, axis=-1)]
        return one_hot

    def torch(self, outputs: torch.Tensor) -> torch.Tensor:
        """PyTorch: (..., A) outputs to (..., A) one-hot vectors, on the outputs' device and in their type."""
        return outputs.new_zeros(outputs.shape).scatter_(-1, outputs.argmax(dim=-1, keepdim=True), 1)

    def sample(self, rng: np.random.Generator) -> Floats:
        """A uniformly drawn one-hot vector, (A,)."""
        one_hot: Floats = np.eye(self.size, dtype=np.float32)[rng.integers(self.size)]
        return one_hot

    def to_json(self) -> dict[str, Any]:
        """The number of actions."""
        return {"one_hot": self.size}


def action_map_from_json(content: Mapping[str, Any]) -> ActionMap:
    """The action map that `to_json` described.

    Raises:
        VmcError: it is none.
    """
    try:
        return _read(content)
    except (TypeError, ValueError):
        raise VmcError(f"This is no map of actions: {str(content)[:80]}.", _DAMAGED) from None


def _read(content: Mapping[str, Any]) -> ActionMap:
    if "one_hot" in content:
        if type(content["one_hot"]) is not int or content["one_hot"] < 1:
            raise ValueError
        return OneHotActionMap(content["one_hot"])
    arrays = {name: np.array(values, np.float32) for name, values in content.items()}
    found = BoxActionMap(**arrays)
    if any(array.shape != (len(found.low),) or not np.isfinite(array).all() for array in arrays.values()):
        raise ValueError
    return found
