"""All that dreams of a run need, from its folder alone: V, M, moments to begin at, and the real action space.

The moments are kept beside M, in `mdrnn/starts.json`, so that a run can be dreamed where its data set is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Box

from vmc.dream.starts import DreamStarts
from vmc.envs.actions import OneHot
from vmc.errors import VmcError
from vmc.models.backbones.contract import Hidden
from vmc.models.checkpoints import STARTS, TRAIN_MDRNN, dynamics_folder
from vmc.models.dynamics import MDNRNN
from vmc.models.loading import load_dynamics, load_vae
from vmc.models.vae import VisionModel
from vmc.storage.checkpoint import Checkpoint, check_shapes, load_checkpoint, save_checkpoint


class TrainedDream(NamedTuple):
    """A run's dream; environments can share one.

    Attributes:
        vae, dynamics: in evaluation mode, on the device where the dream runs.
        starts: on the same device.
        action_space: the real environment's, as vectors; `OneHot` where its actions are discrete.
    """

    vae: VisionModel
    dynamics: MDNRNN
    starts: DreamStarts
    action_space: Box


def load_dream(run: Path, device: str = "cpu") -> TrainedDream:
    """A run's dream, put together from its folder.

    Args:
        device: as PyTorch names it.

    Raises:
        VmcError: V, M or the starts missing, corrupt or strangers to each other; no such device.
    """
    place = _device(device)
    vae, vae_checkpoint = load_vae(run)
    dynamics, checkpoint = load_dynamics(run, vae_checkpoint)
    starts, action_space = _load_starts(run, dynamics, checkpoint, place)
    return TrainedDream(vae.to(place), dynamics.to(place), starts, action_space)


def save_starts(run: Path, starts: DreamStarts, dynamics: Checkpoint, action_space: Box) -> None:
    """Keeps moments beside the M whose states they hold.

    Raises:
        VmcError: the folder cannot be written or is full.
    """
    info = {
        "dynamics": dynamics.sha256,
        "action_low": action_space.low.tolist(),
        "action_high": action_space.high.tolist(),
        "one_hot": isinstance(action_space, OneHot),
    }
    tensors = {"means": starts.means, "log_variances": starts.log_variances, **starts.hidden._asdict()}
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    save_checkpoint(dynamics_folder(run), STARTS, info, arrays)


def _load_starts(run: Path, dynamics: MDNRNN, checkpoint: Checkpoint, device: torch.device) -> tuple[DreamStarts, Box]:
    stored = load_checkpoint(dynamics_folder(run), STARTS, TRAIN_MDRNN)
    if stored.info["dynamics"] != checkpoint.sha256:
        raise VmcError(
            f"{stored.path} holds states of another M than {checkpoint.path}: "
            f"of {stored.info['dynamics'][:12]}, found {checkpoint.sha256[:12]}.",
            f"Run `{TRAIN_MDRNN}` to bring it up to date.",
        )
    sizes, count = dynamics.settings, len(stored.weights.get("means", []))
    latent, hidden, cell = ((count, size) for size in (sizes.latent_size, sizes.hidden_size, sizes.cell_size))
    check_shapes(stored.path, {"means": latent, "log_variances": latent, "h": hidden, "c": cell}, stored.weights)
    means, log_variances, h, c = (
        torch.from_numpy(stored.weights[name]).to(device) for name in ("means", "log_variances", "h", "c")
    )
    low, high = (np.array(stored.info[name], np.float32) for name in ("action_low", "action_high"))
    space = OneHot(len(low)) if stored.info.get("one_hot") else Box(low, high)
    return DreamStarts(means, log_variances, Hidden(h, c), checkpoint.info["sample_latents"]), space


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise VmcError(f"PyTorch knows no device {name!r}.", "Give cpu, cuda, or cuda:1.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise VmcError("PyTorch finds no CUDA device.", "Give cpu, or install a CUDA build of torch.")
    return device
