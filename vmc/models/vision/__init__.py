"""The kinds of V: one table, one file each (`contract.py` says what a kind has to do). No torch until one is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmc.config import check_kind, did_you_mean
from vmc.envs import PREPROCESSING, VECTORS, get_task
from vmc.errors import VmcError
from vmc.own_code import resolve_own

if TYPE_CHECKING:
    from vmc.models.vision.contract import Vision

_SEEN = {PREPROCESSING: "pictures", VECTORS: "vectors"}


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        sees: the preprocessing of the frames that it encodes, one of `vmc.envs.PREPROCESSINGS`.
        model: a `Vision`, as `module:attribute`, imported on first use.
    """

    sees: str
    model: str


# The first kind that sees an environment's frames is its default.
KINDS = {
    "conv": Kind(PREPROCESSING, f"{__name__}.conv:ConvVAE"),
    "identity": Kind(VECTORS, f"{__name__}.identity:Identity"),
    "dense": Kind(VECTORS, f"{__name__}.dense:DenseVAE"),
}


def vision_class(name: str) -> type[Vision]:
    """The `Vision` of a kind in the table, or one elsewhere, named `module:Class`.

    Raises:
        VmcError: there is no such kind, or it cannot be imported, or it is no `Vision`.
    """
    from vmc.models.vision.contract import Vision

    if name not in KINDS and ":" not in name:
        raise VmcError(f"There is no V of kind {name!r}.", f"{did_you_mean(name, KINDS)} Or give module:Class.")
    try:
        found = resolve_own(KINDS[name].model if name in KINDS else name)
    except (ImportError, AttributeError, ValueError) as error:
        raise VmcError(
            f"V of kind {name!r} cannot be imported: {error}.",
            "Give module:Class, of a module that is in the current folder, on PYTHONPATH, or installed.",
        ) from None
    return check_kind("V", name, found, Vision)  # type: ignore[type-abstract]


def sees(name: str) -> str:
    """The preprocessing of the frames that a kind encodes."""
    return KINDS[name].sees if name in KINDS else vision_class(name).sees


def choose_vision(asked: str | None, env: str, preprocessing: str) -> str:
    """The kind of V: the one asked for, or that of the environment's task, or the first that fits its frames.

    Args:
        preprocessing: of the frames, one of `vmc.envs.PREPROCESSINGS`.

    Raises:
        VmcError: that kind does not see such frames.
    """
    fitting = [name for name, kind in KINDS.items() if kind.sees == preprocessing]
    chosen = asked or get_task(env).vision or fitting[0]
    if sees(chosen) != preprocessing:
        raise VmcError(
            f"{env} shows {_SEEN[preprocessing]}, and V of kind {chosen!r} sees {_SEEN[sees(chosen)]}.",
            f"Give --vision {' or '.join(fitting)}.",
        )
    return chosen
