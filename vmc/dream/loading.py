"""All that dreams of a run need, from its folder alone: V, M, moments to begin at, and the real action space.

The moments are kept beside M, in `mdrnn/starts.json`, so that a run can be dreamed where its data set is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from gymnasium.spaces import Box

from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts
from vmc.envs import action_map_from_json
from vmc.envs.actions import space_of
from vmc.errors import VmcError
from vmc.models.checkpoints import (
    STARTS,
    TRAIN_CONTROLLER,
    TRAIN_MDRNN,
    controller_folder,
    dynamics_folder,
    stored_values,
)
from vmc.models.dynamics.contract import WorldModel
from vmc.models.dynamics.state import State
from vmc.models.loading import forms_of, load_dynamics, load_vae
from vmc.models.vision.contract import Vision
from vmc.storage.checkpoint import (
    Checkpoint,
    check_forms,
    has_checkpoint,
    load_checkpoint,
    read_sidecar,
    save_checkpoint,
)


class TrainedDream(NamedTuple):
    """A run's dream; environments can share one.

    Attributes:
        vae, dynamics: in evaluation mode, on the device where the dream runs.
        starts: on the same device.
        action_space: the real environment's, as vectors; `OneHot` where its actions are discrete.
        settings: those that the run's C was evolved with; the defaults where it has no C.
    """

    vae: Vision
    dynamics: WorldModel
    starts: DreamStarts
    action_space: Box
    settings: DreamSettings = DreamSettings()


def load_dream(run: Path, device: str = "cpu") -> TrainedDream:
    """A run's dream, put together from its folder.

    Args:
        device: as PyTorch names it.

    Raises:
        VmcError: V, M or the starts are missing or corrupt, or do not belong together; no such device.
    """
    place = _device(device)
    vae, vae_checkpoint = load_vae(run)
    dynamics, checkpoint = load_dynamics(run, vae_checkpoint)
    starts = _load_starts(run, dynamics.to(place), checkpoint, place)
    space = space_of(action_map_from_json(checkpoint.info["action_map"]))
    return TrainedDream(vae.to(place), dynamics, starts, space, _settings(run))


def save_starts(run: Path, starts: DreamStarts, dynamics: Checkpoint) -> None:
    """Keeps moments beside the M whose states they hold.

    Raises:
        VmcError: the folder cannot be written or is full.
    """
    tensors = {"means": starts.means, "log_variances": starts.log_variances}
    tensors |= {f"state.{number}": part for number, part in enumerate(starts.state)}
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    save_checkpoint(dynamics_folder(run), STARTS, {"dynamics": dynamics.sha256}, arrays)


def _settings(run: Path) -> DreamSettings:
    folder = controller_folder(run)
    if not has_checkpoint(folder, "best"):
        return DreamSettings()
    info = read_sidecar(folder, "best", TRAIN_CONTROLLER)["info"]
    return stored_values(DreamSettings, info["dream"], folder / "best.json")


def _load_starts(run: Path, dynamics: WorldModel, checkpoint: Checkpoint, device: torch.device) -> DreamStarts:
    stored = load_checkpoint(dynamics_folder(run), STARTS, TRAIN_MDRNN)
    if stored.info["dynamics"] != checkpoint.sha256:
        raise VmcError(
            f"{stored.path} holds states of another M than {checkpoint.path}: "
            f"of {stored.info['dynamics'][:12]}, found {checkpoint.sha256[:12]}.",
            f"Run `{TRAIN_MDRNN}` to bring it up to date.",
        )
    tensors = {name: torch.from_numpy(array).to(device) for name, array in stored.weights.items()}
    count = len(tensors.get("means", []))
    latents = torch.zeros(count, dynamics.settings.latent_size, device=device)
    expected = {"means": latents, "log_variances": latents}
    expected |= {f"state.{number}": part for number, part in enumerate(dynamics.initial(latents))}
    check_forms(stored.path, forms_of(expected), stored.weights)
    state = State(tensors[name] for name in expected if name.startswith("state."))
    sample_latents = checkpoint.info["sample_latents"]
    return DreamStarts(dynamics, tensors["means"], tensors["log_variances"], state, sample_latents)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise VmcError(f"PyTorch knows no device {name!r}.", "Give cpu, cuda, or cuda:1.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise VmcError("PyTorch finds no CUDA device.", "Give cpu, or install a CUDA build of torch.")
    return device
