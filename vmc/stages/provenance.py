"""What V, M and C of a run are, and which software made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmc.errors import VmcError
from vmc.models.checkpoints import (
    TRAIN_CONTROLLER,
    TRAIN_MDRNN,
    TRAIN_VAE,
    controller_folder,
    dynamics_folder,
    vae_folder,
)
from vmc.storage.checkpoint import has_checkpoint, load_checkpoint, read_sidecar

# By the letter of the part.
PARTS = {
    "V": (vae_folder, TRAIN_VAE),
    "M": (dynamics_folder, TRAIN_MDRNN),
    "C": (controller_folder, TRAIN_CONTROLLER),
}


@dataclass(frozen=True)
class Model:
    """The best V, M or C of a run.

    Attributes:
        info: the stage's entries in the checkpoint.
        versions: of the software that made it.
        sha256: of its weights.
        num_parameters: None where the weights cannot be read.
        fault: why they cannot be read; None where they can.
    """

    info: Mapping[str, Any]
    versions: Mapping[str, str]
    sha256: str
    num_parameters: int | None = None
    fault: VmcError | None = None


def read_models(run: Path) -> dict[str, Model]:
    """The run's best V, M and C, as many as there are.

    Raises:
        VmcError: a checkpoint's JSON is damaged.
    """
    found = {part: (place(run), command) for part, (place, command) in PARTS.items()}
    return {part: _read(*place) for part, place in found.items() if has_checkpoint(place[0], "best")}


def interrupted_parts(run: Path) -> list[str]:
    """Those of V, M and C whose training or search was stopped on its way.

    Raises:
        VmcError: a checkpoint's JSON is damaged.
    """
    places = {part: (place(run), command) for part, (place, command) in PARTS.items()}
    latest = {part: place for part, place in places.items() if has_checkpoint(place[0], "latest")}
    return [part for part, (folder, command) in latest.items() if not _is_finished(folder, command)]


def _is_finished(folder: Path, command: str) -> bool:
    return bool(read_sidecar(folder, "latest", command)["info"]["finished"])


def _read(folder: Path, command: str) -> Model:
    sidecar = read_sidecar(folder, "best", command)
    about = sidecar["info"], sidecar["versions"], sidecar["files"]["weights"]["sha256"]
    try:
        weights = load_checkpoint(folder, "best", command).weights
    except VmcError as fault:
        return Model(*about, fault=fault)
    return Model(*about, sum(array.size for array in weights.values()))
