"""V and M as PyTorch modules, from a run's checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from vmc.envs import get_task
from vmc.models.checkpoints import dynamics_checkpoint, stored_settings, vae_checkpoint
from vmc.models.dense import DenseVAE, DenseVAESettings
from vmc.models.dynamics import MDNRNN
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.models.identity import Identity, IdentitySettings
from vmc.models.vae import ConvVAE, VAESettings, VisionModel
from vmc.models.visions import DEFAULT_VISION
from vmc.storage.checkpoint import Checkpoint, check_shapes

Module = TypeVar("Module", bound=nn.Module)


class _Kind(NamedTuple):
    """A kind of V.

    Attributes:
        model: made from its settings.
        settings: their class.
        settings_for: settings from a frame's shape and the task's Z.
    """

    model: Callable[[Any], VisionModel]
    settings: type[Any]
    settings_for: Callable[[tuple[int, ...], int], Any]


_KINDS = {
    "conv": _Kind(ConvVAE, VAESettings, lambda shape, size: VAESettings(size)),
    # More latents than numbers would compress nothing.
    "dense": _Kind(DenseVAE, DenseVAESettings, lambda shape, size: DenseVAESettings(shape[0], min(size, shape[0]))),
    "identity": _Kind(Identity, IdentitySettings, lambda shape, size: IdentitySettings(shape[0])),
}


def make_vision(kind: str, env: str, frame_shape: tuple[int, ...]) -> VisionModel:
    """An untrained V of a kind in `vmc.models.visions.VISIONS`, for the frames of an environment."""
    made = _KINDS[kind]
    return made.model(made.settings_for(frame_shape, get_task(env).latent_size))


def load_vae(run: Path) -> tuple[VisionModel, Checkpoint]:
    """The run's best V, in evaluation mode on the CPU.

    Raises:
        VmcError: missing, corrupt, or of other shapes than its settings say.
    """
    checkpoint = vae_checkpoint(run)
    kind = _KINDS[checkpoint.info.get("vision", DEFAULT_VISION)]
    return load_weights(kind.model(stored_settings(kind.settings, checkpoint)), checkpoint), checkpoint


def load_dynamics(run: Path, vae: Checkpoint) -> tuple[MDNRNN, Checkpoint]:
    """The run's best M, in evaluation mode on the CPU.

    Raises:
        VmcError: missing, corrupt, or trained on the latents of another V.
    """
    checkpoint = dynamics_checkpoint(run, vae)
    return load_weights(MDNRNN(stored_settings(DynamicsSettings, checkpoint)), checkpoint), checkpoint


def load_weights(module: Module, checkpoint: Checkpoint) -> Module:
    """Puts a checkpoint's weights into a module, frozen and in evaluation mode, after checking names and shapes.

    Raises:
        VmcError: names the first array that does not fit, with the expected and the found shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_shapes(checkpoint.path, expected, checkpoint.weights)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in checkpoint.weights.items()})
    return module.eval().requires_grad_(False)
