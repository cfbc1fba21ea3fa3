"""The observations of a dream environment: one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.spaces import Box
from torch import Tensor

from vmc.config import did_you_mean
from vmc.dream.loading import TrainedDream
from vmc.envs import FRAME_SHAPE
from vmc.errors import VmcError
from vmc.models.chunks import decode_frames
from vmc.models.dynamics.state import State
from vmc.models.vision.contract import Vision


class Observation(NamedTuple):
    """A row of the table.

    Attributes:
        space: of one dream.
        observe: from M's state of B rows to a new tensor (B, ...).
    """

    space: Callable[[TrainedDream], Box]
    observe: Callable[[TrainedDream, State], Tensor]


def find_observation(name: str) -> Observation:
    """The table's row.

    Raises:
        VmcError: there is none of this name.
    """
    if name not in OBSERVATIONS:
        raise VmcError(f"A dream cannot be observed as {name!r}.", did_you_mean(name, OBSERVATIONS))
    return OBSERVATIONS[name]


def check_pictures(vae: Vision) -> None:
    """Raises a `VmcError` where V was trained on vectors: such a dream has nothing to show."""
    if not vae.decodes_pictures:
        raise VmcError("V of this run keeps vectors, not pictures.", "Observe the dream as latent or features.")


def as_array(tensor: Tensor) -> npt.NDArray[Any]:
    """Copies a tensor from any device to NumPy."""
    array: npt.NDArray[Any] = tensor.cpu().numpy()
    return array


def _picture_space(dream: TrainedDream) -> Box:
    check_pictures(dream.vae)
    return Box(0, 255, FRAME_SHAPE, np.uint8)


def _unbounded(size: int) -> Box:
    return Box(-np.inf, np.inf, (size,), np.float32)


def _features(dream: TrainedDream, state: State) -> Tensor:
    """[z, h]: what the paper's C reads; where M has no h, z and the features that it has."""
    features = dream.dynamics.features(state)
    return torch.cat([features[name] for name in _feature_names(dream)], dim=1)


def _feature_names(dream: TrainedDream) -> list[str]:
    return list(dream.dynamics.feature_sizes)[:2]


OBSERVATIONS = {
    # z alone: what V sees of this instant.
    "latent": Observation(
        lambda dream: _unbounded(dream.dynamics.settings.latent_size),
        lambda dream, state: dream.dynamics.latents(state).clone(),
    ),
    # h, M's memory from before this z, holds what came before.
    "features": Observation(
        lambda dream: _unbounded(sum(dream.dynamics.feature_sizes[name] for name in _feature_names(dream))),
        _features,
    ),
    "pixels": Observation(
        _picture_space,
        lambda dream, state: decode_frames(dream.vae, dream.dynamics.latents(state)),
    ),
}
