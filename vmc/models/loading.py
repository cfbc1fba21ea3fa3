"""V and M as PyTorch modules, from a run's checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from vmc.models.checkpoints import dynamics_checkpoint, stored_settings, vae_checkpoint
from vmc.models.dynamics import MDNRNN
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.models.vae import ConvVAE, VAESettings
from vmc.storage.checkpoint import Checkpoint, check_shapes

Module = TypeVar("Module", bound=nn.Module)


def load_vae(run: Path) -> tuple[ConvVAE, Checkpoint]:
    """The run's best V, in evaluation mode on the CPU.

    Raises:
        VmcError: missing, corrupt, or of other shapes than its settings say.
    """
    checkpoint = vae_checkpoint(run)
    return load_weights(ConvVAE(stored_settings(VAESettings, checkpoint)), checkpoint), checkpoint


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
