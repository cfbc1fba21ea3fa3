"""The folders of V, M and C in a run, and the checks that they belong together. No torch: worker processes use this."""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from vmc.config import OptionError, changed, make_checked, with_defaults
from vmc.errors import VmcError
from vmc.models.controller import LinearSettings, PlannerSettings
from vmc.storage.checkpoint import Checkpoint, Form, check_forms, has_checkpoint, load_checkpoint, read_sidecar

Settings = TypeVar("Settings")
TRAIN_VAE, TRAIN_MDRNN, TRAIN_CONTROLLER = "vmc train-vae", "vmc train-mdrnn", "vmc train-controller"
# Beside M's checkpoints: moments for dreams to begin at.
STARTS = "starts"
_DAMAGED = "Restore it from a copy, or train in another folder."
OTHER_SEED = "A new seed needs its own --run and --data; where they are left out, `--seed` names them."


def vae_folder(run: Path) -> Path:
    """The folder of V in a run."""
    return run / "vae"


def dynamics_folder(run: Path) -> Path:
    """The folder of M in a run."""
    return run / "mdrnn"


def joint_folder(run: Path) -> Path:
    """The folder of a training of V and M together in a run."""
    return run / "joint"


def controller_folder(run: Path) -> Path:
    """The folder of C in a run."""
    return run / "controller"


def vae_checkpoint(run: Path, env: str | None = None) -> Checkpoint:
    """The run's best V; with `env`, a V of that environment.

    Raises:
        VmcError: missing, corrupt, not finite, or trained on another environment.
    """
    checkpoint = _finite(load_checkpoint(vae_folder(run), "best", TRAIN_VAE))
    if env is not None and checkpoint.info["env"] != env:
        raise VmcError(
            f"{run} was trained on {checkpoint.info['env']}, not on {env}.",
            f"Give --env {checkpoint.info['env']}, or another --run.",
        )
    return checkpoint


def dynamics_checkpoint(run: Path, vae: Checkpoint) -> Checkpoint:
    """The run's best M.

    Raises:
        VmcError: missing, corrupt, not finite, or trained on the latents of another V.
    """
    checkpoint = _finite(load_checkpoint(dynamics_folder(run), "best", TRAIN_MDRNN))
    if checkpoint.info["vae"] != vae.sha256:
        raise _mismatch(checkpoint, "M", "V", vae, checkpoint.info["vae"], TRAIN_MDRNN)
    return checkpoint


class StoredController(NamedTuple):
    """A run's C.

    Attributes:
        settings: its shape.
        parameters: (N,).
        sha256: of its parameters, and of how a planner searches around them.
        agent: a hash of that and of V and M: a search with other ones may find the same parameters.
        dream: the settings of the dream that it was evolved in.
        planning: of the planner around it; None where it acts by itself.
    """

    settings: LinearSettings
    parameters: npt.NDArray[np.float64]
    sha256: str
    agent: str
    dream: dict[str, Any]
    planning: PlannerSettings | None


def load_controller(run: Path, vae: Checkpoint, dynamics: Checkpoint, name: str = "best") -> StoredController:
    """The run's best C, or its `latest`: the mean of the search where it stands.

    Raises:
        VmcError: missing, corrupt, not finite, or evolved with another V or M.
    """
    checkpoint = _finite(load_checkpoint(controller_folder(run), name, TRAIN_CONTROLLER))
    for model, key, other in (("V", "vae", vae), ("M", "dynamics", dynamics)):
        if checkpoint.info[key] != other.sha256:
            raise _mismatch(checkpoint, "C", model, other, checkpoint.info[key], TRAIN_CONTROLLER)
    settings = stored_settings(LinearSettings, checkpoint)
    # An old export has rounded them.
    kind = "float32" if checkpoint.weights.get("parameters", np.zeros(0)).dtype == np.float32 else "float64"
    check_forms(checkpoint.path, {"parameters": Form((settings.num_parameters,), kind)}, checkpoint.weights)
    parameters, digest, dream = checkpoint.weights["parameters"], checkpoint.sha256, checkpoint.info["dream"]
    stored, planning = checkpoint.info.get("planning"), None
    if stored is not None:
        digest = _hash_of(digest, json.dumps(stored, sort_keys=True))
        planning = stored_values(PlannerSettings, stored, checkpoint.path)
    agent = _hash_of(vae.sha256, dynamics.sha256, digest)
    return StoredController(settings, parameters, digest, agent, dream, planning)


def _hash_of(*texts: str) -> str:
    return sha256(" ".join(texts).encode()).hexdigest()


def require_finished(folder: Path, command: str) -> None:
    """Raises a `VmcError` when a stage that others build on was not run, or was interrupted."""
    if not has_checkpoint(folder, "latest") and has_checkpoint(folder, "best"):
        return  # an exported model, or one that was kept without training
    if not read_sidecar(folder, "latest", command)["info"]["finished"]:
        raise VmcError(
            f"The training in {folder} is not finished.",
            f"Run `{command}` again to go on, or with fewer --epochs to end it here.",
        )


def refuse_exported(folder: Path, command: str) -> None:
    """Raises a `VmcError` if a training from scratch would replace a trained model, as an exported run holds one."""
    if has_checkpoint(folder, "latest") or not has_checkpoint(folder, "best"):
        return
    info = read_sidecar(folder, "best", command)["info"]
    # A training that was stopped between its first validation and its first state has epoch or generation 0.
    if info.get("epoch") or info.get("generation"):
        raise VmcError(
            f"{folder} holds a trained model without the state to go on from, as exported runs do: it would be lost.",
            "Copy what shall be built on (`vae`, `mdrnn`) to another folder, and give that with --run.",
        )


def check_config(checkpoint: Checkpoint, settings: Any, command: str, free: Set[str]) -> None:
    """Raises a `VmcError` that names the first setting in which a resumed stage differs from its checkpoint.

    Args:
        settings: the stage's settings now, a dataclass.
        free: the settings that may change.
    """
    stored, config = with_defaults(settings, checkpoint.info["config"]), asdict(settings)
    for name in sorted((stored.keys() | config.keys()) - free):
        if stored.get(name) != config.get(name):
            difference = changed(name, stored.get(name), config.get(name))
            hint = OTHER_SEED if name == "seed" else f"Run `{command}` with the old value, or give another --run."
            raise VmcError(f"{checkpoint.path.parent} was trained with {difference}.", hint)


def model_info(settings: Any) -> dict[str, Any]:
    """A model's settings as a checkpoint keeps them; `stored_settings` reads them back."""
    return {"model": asdict(settings)}


def stored_settings(kind: type[Settings], checkpoint: Checkpoint) -> Settings:
    """A model's settings from its checkpoint.

    Raises:
        VmcError: it holds those of another kind of model.
    """
    return stored_values(kind, checkpoint.info["model"], checkpoint.path)


def stored_values(kind: type[Settings], values: Any, path: Path) -> Settings:
    """A dataclass from what a file says of it.

    Raises:
        VmcError: a value that is missing, unknown, of another type or out of bounds.
    """
    if not isinstance(values, dict):
        raise VmcError(f"{path} holds no settings of a {kind.__name__}.", _DAMAGED)
    try:
        return make_checked(kind, values)
    except OptionError as error:
        raise VmcError(f"{path} holds no settings of a {kind.__name__}: {error.problem}", _DAMAGED) from None


def _finite(checkpoint: Checkpoint) -> Checkpoint:
    for name, array in checkpoint.weights.items():
        if not np.isfinite(array).all():
            raise VmcError(f"{checkpoint.path}: {name} holds NaN or infinity.", "Train again in another folder.")
    return checkpoint


def _mismatch(checkpoint: Checkpoint, which: str, of: str, other: Checkpoint, made: str, command: str) -> VmcError:
    return VmcError(
        f"{which} in {checkpoint.path.parent} and {of} in {other.path.parent} do not belong together: "
        f"it was made with {of} {made[:12]}, found {other.sha256[:12]}.",
        f"Run `{command}` to bring it up to date.",
    )
