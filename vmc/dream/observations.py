"""What a dream environment shows of a dream: one table."""

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
from vmc.models.backbones.contract import Hidden
from vmc.models.vae import ConvVAE, VisionModel, to_frames

# Frames decoded at once; V's widest layer holds 115 KB for each.
_DECODED_AT_ONCE = 256


class Observation(NamedTuple):
    """A row of the table.

    Attributes:
        space: of one dream.
        observe: from latents (B, Z) and M's states (B, H) to a new tensor (B, ...).
    """

    space: Callable[[TrainedDream], Box]
    observe: Callable[[TrainedDream, Tensor, Hidden], Tensor]


def find_observation(name: str) -> Observation:
    """The table's row.

    Raises:
        VmcError: there is none of this name.
    """
    if name not in OBSERVATIONS:
        raise VmcError(f"A dream cannot be observed as {name!r}.", did_you_mean(name, OBSERVATIONS))
    return OBSERVATIONS[name]


def check_pictures(dream: TrainedDream) -> None:
    """Raises a `VmcError` where V was trained on vectors: such a dream has nothing to show."""
    if not isinstance(dream.vae, ConvVAE):
        raise VmcError("V of this run keeps vectors, not pictures.", "Observe the dream as latent or features.")


@torch.no_grad()
def decoded(vae: VisionModel, latents: Tensor) -> npt.NDArray[np.uint8]:
    """Latents (B, Z) as V's pictures of them, uint8 (B, 64, 64, 3)."""
    return as_array(_pixels(vae, latents))


def as_array(tensor: Tensor) -> npt.NDArray[Any]:
    """To NumPy, from any device."""
    array: npt.NDArray[Any] = tensor.cpu().numpy()
    return array


def _pixels(vae: VisionModel, latents: Tensor) -> Tensor:
    return torch.cat([to_frames(vae.decode(part)) for part in latents.split(_DECODED_AT_ONCE)]).contiguous()


def _picture_space(dream: TrainedDream) -> Box:
    check_pictures(dream)
    return Box(0, 255, FRAME_SHAPE, np.uint8)


def _unbounded(size: int) -> Box:
    return Box(-np.inf, np.inf, (size,), np.float32)


OBSERVATIONS = {
    # z alone: what V sees of this instant.
    "latent": Observation(
        lambda dream: _unbounded(dream.dynamics.settings.latent_size),
        lambda dream, latents, hidden: latents.clone(),
    ),
    # [z, h], C's own input: h, M's state before this z, holds what came before.
    "features": Observation(
        lambda dream: _unbounded(dream.dynamics.settings.latent_size + dream.dynamics.settings.hidden_size),
        lambda dream, latents, hidden: torch.cat([latents, hidden.h], dim=1),
    ),
    "pixels": Observation(
        _picture_space,
        lambda dream, latents, hidden: _pixels(dream.vae, latents),
    ),
}
