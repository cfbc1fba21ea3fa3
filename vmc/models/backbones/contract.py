"""What every kind of M's recurrence gives. Shapes: I inputs (z and the action, side by side), H the width of h."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float32]
# A backbone's arrays by the names that they have in its PyTorch module.
Weights = dict[str, npt.NDArray[Any]]
# From weight (O, I) and bias (O,) to a function from (B, I) to (B, O): plain NumPy for one row, oneDNN for many.
MakeLinear = Callable[[Array, Array], Callable[[Array], Array]]


class Hidden(NamedTuple):
    """M's state: h (B, H), which the heads read and C sees, and the cell c, (B, H) or (B, 0) for kinds without one."""

    h: Tensor
    c: Tensor


class Backbone(Protocol):
    """A kind as a PyTorch module."""

    def unroll(self, inputs: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Inputs (B, T, I) and the state before them, to h after every step (B, T, H) and the state after the last."""
        ...

    def step(self, inputs: Tensor, hidden: Hidden) -> Hidden:
        """One step: inputs (B, I) and the state before, to the state after."""
        ...


class Step(Protocol):
    """One step of a kind in NumPy, made from its arrays."""

    def __call__(self, inputs: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """Inputs (B, I) and the state before, to h and c after, in arrays of their own."""
        ...
