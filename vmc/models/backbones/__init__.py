"""The kinds of M's recurrence, under the same heads: one table, one file each.

A kind has two files, since worker processes import no torch: `<kind>.py` is its PyTorch module, for training and for
a GPU; `<kind>_step.py` is one step of it in NumPy and numba, for an agent and for dreams on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from vmc.models.backbones.contract import Array, MakeLinear, Step

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Kind:
    """A row of the table. What it names is imported when it is asked for: the command line needs the names alone.

    Attributes:
        module: makes a `Backbone` from the widths of its inputs and of h.
        step: makes a `Step` from that module's arrays by their names, and from a `MakeLinear`.
        has_cell: whether the state has a cell c, as wide as h; without one, c has no width.
    """

    module: str
    step: str
    has_cell: bool = False


BACKBONES = {
    "lstm": Kind("lstm:LSTM", "lstm_step:LSTMStep", has_cell=True),
    "gru": Kind("gru:GRU", "gru_step:GRUStep"),
    "mlp": Kind("mlp:MLP", "mlp_step:MLPStep"),
    "neural-ode": Kind("neural_ode:NeuralODE", "neural_ode_step:NeuralODEStep"),
}


def make_backbone(kind: str, input_size: int, hidden_size: int) -> nn.Module:
    """The untrained PyTorch module of a kind, a `Backbone`."""
    return _find(BACKBONES[kind].module)(input_size, hidden_size)  # type: ignore[no-any-return]


def make_step(kind: str, weights: Mapping[str, Array], make_linear: MakeLinear) -> Step:
    """One step of a kind, without torch.

    Args:
        weights: M's arrays by their PyTorch names, as in its checkpoint: the backbone's begin with its kind.
    """
    own = {name.partition(".")[2]: array for name, array in weights.items() if name.partition(".")[0] == kind}
    return _find(BACKBONES[kind].step)(own, make_linear)  # type: ignore[no-any-return]


def _find(place: str) -> Any:
    return resolve_name(f"{__name__}.{place}")
