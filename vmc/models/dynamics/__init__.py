"""The kinds of M: one table, one file each (`contract.py` says what a kind has to do). No torch until one is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from vmc.config import check_kind, did_you_mean, parse_value
from vmc.errors import VmcError
from vmc.models.dynamics.state import State
from vmc.own_code import resolve_own

if TYPE_CHECKING:
    from vmc.models.dynamics.contract import WorldModel

Array = npt.NDArray[np.float32]
Arrays = Mapping[str, npt.NDArray[Any]]


_EXPORTED = f"{__name__}.exported:ExportedStep"


class StepModel(Protocol):
    """M in an agent's loop: one episode on one CPU thread, in NumPy. The names are those of `WorldModel`."""

    def initial(self, latent: Array) -> State:
        """The state at the first frame, given its latent (Z,)."""
        ...

    def observe(self, state: State, action: Array, latent: Array) -> State:
        """The state at the next frame, after the action (A,), given that frame's latent (Z,)."""
        ...

    def features(self, state: State) -> Mapping[str, Array]:
        """The features of a state that C may read, by name, each (width,)."""
        ...


@dataclass(frozen=True)
class Kind:
    """A row of the table; both names are `module:attribute`, imported on first use.

    Attributes:
        model: a `WorldModel`.
        step: a `StepModel`, made from M's arrays and exported graphs.
    """

    model: str
    step: str = _EXPORTED

    @property
    def has_own_step(self) -> bool:
        """Returns whether the step is written by hand, not exported."""
        return self.step != _EXPORTED


KINDS = {
    "lstm": Kind(f"{__name__}.lstm:LSTM", f"{__name__}.lstm_step:LSTMStep"),
    "gru": Kind(f"{__name__}.gru:GRU"),
    "mlp": Kind(f"{__name__}.mlp:MLP"),
    "neural-ode": Kind(f"{__name__}.neural_ode:NeuralODE"),
    "transformer": Kind(f"{__name__}.transformer:Transformer"),
    "rssm": Kind(f"{__name__}.rssm:RSSM"),
}
# Mixture weights of the next latent: one set for each dimension (the original's), or one for all dimensions.
MIXTURES = ("per-dimension", "shared")


def parse_kind(text: str) -> tuple[str, dict[str, Any]]:
    """Parses `KIND[,NAME=VALUE...]`, such as `rssm,stochastic=gaussian`: the kind, and the settings given for it.

    Raises:
        VmcError: a part is not NAME=VALUE.
    """
    kind, *parts = text.split(",")
    values = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not (equals and name.isidentifier()):
            raise VmcError(f"In M's kind {text!r}, {part!r} is not NAME=VALUE.", "Example: transformer,context=32.")
        values[name] = parse_value(value)
    return kind, values


def find_kind(name: str) -> Kind:
    """The table's row, or that of a `WorldModel` elsewhere, named `module:Class`; settings after it do not matter.

    Raises:
        VmcError: there is no such kind.
    """
    name, _ = parse_kind(name)
    if name in KINDS:
        return KINDS[name]
    if ":" in name:
        return Kind(name)
    raise VmcError(f"There is no M of kind {name!r}.", f"{did_you_mean(name, KINDS)} Or give module:Class.")


def dynamics_class(name: str) -> type[WorldModel]:
    """The `WorldModel` of a kind.

    Raises:
        VmcError: there is no such kind, or it cannot be imported, or it is no `WorldModel`.
    """
    from vmc.models.dynamics.contract import WorldModel

    return check_kind("M", name, _resolve(name, find_kind(name).model), WorldModel)  # type: ignore[type-abstract]


def make_step(name: str, weights: Arrays, graphs: Mapping[str, bytes]) -> StepModel:
    """A kind's part in an agent's loop, from what its checkpoint holds."""
    return _resolve(name, find_kind(name).step)(weights, graphs)  # type: ignore[no-any-return]


def _resolve(name: str, place: str) -> Any:
    try:
        return resolve_own(place)
    except (ImportError, AttributeError, ValueError) as error:
        raise VmcError(
            f"M of kind {name!r} cannot be imported: {error}.",
            "Give module:Class, of a module that is in the current folder, on PYTHONPATH, or installed.",
        ) from None
