"""V, M and C from a run's checkpoints, and the checks that they belong together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vmc.errors import VmcError
from vmc.models.controller import ControllerSettings
from vmc.models.dynamics import MDNRNN, DynamicsSettings
from vmc.models.vae import ConvVAE, VAESettings
from vmc.storage.checkpoint import Checkpoint, check_shapes, load_checkpoint, read_sidecar

Module = TypeVar("Module", bound=nn.Module)
Settings = TypeVar("Settings")
TRAIN_VAE, TRAIN_MDRNN, TRAIN_CONTROLLER = "vmc train-vae", "vmc train-mdrnn", "vmc train-controller"


def vae_folder(run: Path) -> Path:
    """Where a run keeps V."""
    return run / "vae"


def dynamics_folder(run: Path) -> Path:
    """Where a run keeps M."""
    return run / "mdrnn"


def controller_folder(run: Path) -> Path:
    """Where a run keeps C."""
    return run / "controller"


def load_vae(run: Path) -> tuple[ConvVAE, Checkpoint]:
    """The run's best V, in evaluation mode on the CPU.

    Raises:
        VmcError: missing, corrupt, or of other shapes than its settings say.
    """
    checkpoint = load_checkpoint(vae_folder(run), "best", TRAIN_VAE)
    vae = ConvVAE(_settings(VAESettings, checkpoint))
    return load_weights(vae, checkpoint), checkpoint


def load_dynamics(run: Path, vae: Checkpoint) -> tuple[MDNRNN, Checkpoint]:
    """The run's best M, in evaluation mode on the CPU.

    Raises:
        VmcError: missing, corrupt, or trained on the latents of another V.
    """
    checkpoint = load_checkpoint(dynamics_folder(run), "best", TRAIN_MDRNN)
    if checkpoint.info["vae"] != vae.sha256:
        raise _strangers(checkpoint.path, "M", "V", vae.path, checkpoint.info["vae"], vae.sha256, TRAIN_MDRNN)
    dynamics = MDNRNN(_settings(DynamicsSettings, checkpoint))
    return load_weights(dynamics, checkpoint), checkpoint


def load_controller(
    run: Path, vae: Checkpoint, dynamics: Checkpoint
) -> tuple[ControllerSettings, npt.NDArray[np.float64], Checkpoint]:
    """The run's best C: its settings and its parameter vector.

    Raises:
        VmcError: missing, corrupt, or evolved with another V or M.
    """
    checkpoint = load_checkpoint(controller_folder(run), "best", TRAIN_CONTROLLER)
    for name, of, other in (("V", "vae", vae), ("M", "dynamics", dynamics)):
        made_with = checkpoint.info[of]
        if made_with != other.sha256:
            raise _strangers(checkpoint.path, "C", name, other.path, made_with, other.sha256, TRAIN_CONTROLLER)
    settings = _settings(ControllerSettings, checkpoint)
    check_shapes(checkpoint.path, {"parameters": (settings.num_parameters,)}, checkpoint.weights)
    return settings, checkpoint.weights["parameters"], checkpoint


def is_finished(folder: Path, command: str) -> bool:
    """Whether a stage says that it has done all that was asked of it."""
    return bool(read_sidecar(folder, "latest", command)["info"]["finished"])


def require_finished(folder: Path, command: str) -> None:
    """Raises a `VmcError` when a stage that others build on was not run, or was interrupted."""
    if not is_finished(folder, command):
        raise VmcError(
            f"The training in {folder} is not finished.",
            f"Run `{command}` again to go on, or with fewer --epochs to end it here.",
        )


def load_weights(module: Module, checkpoint: Checkpoint) -> Module:
    """Puts a checkpoint's weights into a module, after checking names, shapes and finiteness.

    Raises:
        VmcError: names the first array that does not fit, with the expected and the found shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_shapes(checkpoint.path, expected, checkpoint.weights)
    for name, array in checkpoint.weights.items():
        if not np.isfinite(array).all():
            raise VmcError(f"{checkpoint.path}: {name} holds NaN or infinity.", "Train anew in another folder.")
    module.load_state_dict({name: torch.from_numpy(array) for name, array in checkpoint.weights.items()})
    return module.eval().requires_grad_(False)


def model_info(settings: Any) -> dict[str, Any]:
    """A model's settings as a checkpoint keeps them; `_settings` reads them back."""
    return {"model": asdict(settings)}


def _settings(kind: type[Settings], checkpoint: Checkpoint) -> Settings:
    try:
        return kind(**checkpoint.info["model"])
    except (KeyError, TypeError):
        raise VmcError(f"{checkpoint.path} holds no settings of a {kind.__name__}.") from None


def _strangers(path: Path, which: str, of: str, of_path: Path, made: str, found: str, command: str) -> VmcError:
    return VmcError(
        f"{which} in {path.parent} and {of} in {of_path.parent} do not belong together: "
        f"it was made with {of} {made[:12]}, found {found[:12]}.",
        f"Run `{command}` to bring it up to date.",
    )
