"""V and M as PyTorch modules: made, stored in and loaded from a run's checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from vmc.config import OptionError, make_checked
from vmc.errors import VmcError
from vmc.models.checkpoints import dynamics_checkpoint, model_info, stored_settings, vae_checkpoint
from vmc.models.dynamics import dynamics_class, find_kind, parse_kind
from vmc.models.dynamics.contract import WorldModel
from vmc.models.vision import vision_class
from vmc.models.vision.contract import Vision
from vmc.models.vision.encoder import ENCODER
from vmc.storage.checkpoint import Checkpoint, Form, check_forms
from vmc.storage.rollouts import FrameKind

Module = TypeVar("Module", bound=nn.Module)


def make_vision(kind: str, frame_shape: tuple[int, ...], latent_size: int) -> Vision:
    """An untrained V of a kind in `vmc.models.vision.KINDS`.

    Args:
        latent_size: the task's Z.
    """
    model = vision_class(kind)
    return model(model.settings_for(frame_shape, latent_size))


def make_dynamics(kind: str, **values: Any) -> WorldModel:
    """An untrained M of a kind in `vmc.models.dynamics.KINDS`.

    Args:
        kind: perhaps with settings of its own, such as `transformer,context=32`.
        values: `latent_size`, `action_size`, `hidden_size`, `mixture`; a kind takes those that its settings have.

    Raises:
        VmcError: there is no such kind, or it has no such setting, or a value does not fit.
    """
    name, own = parse_kind(kind)
    model = dynamics_class(name)
    names = [field.name for field in dataclasses.fields(model.Settings)]
    common = {name: value for name, value in values.items() if name in names}
    try:
        return model(make_checked(model.Settings, common, own))
    except OptionError as error:
        raise VmcError(f"M of kind {name!r}: {error.problem}", error.hint or f"It has: {', '.join(names)}.") from None


def vision_info(kind: str, model: Vision) -> dict[str, Any]:
    """V's settings in a checkpoint, beside its arrays."""
    return {"kind": kind, **model_info(model.settings)}


def dynamics_info(kind: str, model: WorldModel) -> dict[str, Any]:
    """M's settings in a checkpoint, beside its arrays."""
    return {"kind": parse_kind(kind)[0], "features": model.feature_sizes, **model_info(model.settings)}


def vision_graphs(model: Vision, frame_kind: FrameKind) -> dict[str, bytes]:
    """V's graph for worker processes; `model` is on the CPU."""
    return {ENCODER: model.encoder_graph(torch.from_numpy(np.zeros(frame_kind.shape, frame_kind.dtype)))}


def dynamics_graphs(kind: str, model: WorldModel) -> dict[str, bytes]:
    """M's graphs for worker processes, where its kind has no step of its own; `model` is on the CPU."""
    return {} if find_kind(kind).has_own_step else model.step_graphs()


def load_vae(run: Path) -> tuple[Vision, Checkpoint]:
    """The run's best V, in evaluation mode on the CPU.

    Raises:
        VmcError: missing, corrupt, or of other shapes than its settings say.
    """
    checkpoint = vae_checkpoint(run)
    model = vision_class(checkpoint.info["kind"])
    return load_weights(model(stored_settings(model.Settings, checkpoint)), checkpoint), checkpoint


def load_dynamics(run: Path, vae: Checkpoint) -> tuple[WorldModel, Checkpoint]:
    """The run's best M, in evaluation mode on the CPU.

    Raises:
        VmcError: missing, corrupt, or trained on the latents of another V.
    """
    checkpoint = dynamics_checkpoint(run, vae)
    return dynamics_of(checkpoint), checkpoint


def dynamics_of(checkpoint: Checkpoint) -> WorldModel:
    """The M of a checkpoint, in evaluation mode on the CPU.

    Raises:
        VmcError: its arrays or its settings are those of another kind.
    """
    model = dynamics_class(checkpoint.info["kind"])
    return load_weights(model(stored_settings(model.Settings, checkpoint)), checkpoint)


def load_weights(module: Module, checkpoint: Checkpoint) -> Module:
    """Puts a checkpoint's weights into a module, frozen and in evaluation mode, after checking names and shapes.

    Raises:
        VmcError: names the first array that does not fit, with the expected and the found shape.
    """
    check_forms(checkpoint.path, forms_of(module.state_dict()), checkpoint.weights)
    module.load_state_dict({name: torch.from_numpy(array) for name, array in checkpoint.weights.items()})
    return module.eval().requires_grad_(False)


def forms_of(tensors: Mapping[str, Tensor]) -> dict[str, Form]:
    """The shapes and types of tensors, as NumPy names them."""
    return {
        name: Form(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in tensors.items()
    }


def arrays_of(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    """A module's arrays by their PyTorch names, as a checkpoint keeps them."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
