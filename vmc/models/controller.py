"""C: a linear map from [z, h] to an action's pre-squash outputs (paper, section 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ControllerSettings:
    """C's shape: A outputs from Z latents and H hidden values; 867 parameters on CarRacing."""

    latent_size: int
    hidden_size: int
    action_size: int

    @property
    def num_parameters(self) -> int:
        """A * (Z + H) weights, row by row, then A biases: the vector that CMA-ES searches."""
        return self.action_size * (self.latent_size + self.hidden_size + 1)


class LinearController:
    """outputs = W [z, h] + b for one parameter vector, in NumPy: what runs in an environment's loop.

    Args:
        parameters: (num_parameters,).
    """

    def __init__(self, settings: ControllerSettings, parameters: npt.NDArray[np.floating]) -> None:
        num_weights = settings.num_parameters - settings.action_size
        parameters = np.asarray(parameters, np.float32)
        self._weights = parameters[:num_weights].reshape(settings.action_size, -1)
        self._bias = parameters[num_weights:]

    def __call__(self, latent: Array, hidden: Array) -> Array:
        """Latent (Z,) and hidden (H,) to outputs (A,), before the squash."""
        outputs: Array = self._weights @ np.concatenate([latent, hidden]) + self._bias
        return outputs


def controller_outputs(settings: ControllerSettings, parameters: Tensor, latents: Tensor, h: Tensor) -> Tensor:
    """The same for a population, each candidate with its own parameters and its own batch.

    Args:
        parameters: (P, num_parameters).
        latents: (P, R, Z).
        h: (P, R, H).

    Returns:
        (P, R, A) outputs before the squash.
    """
    z, a = settings.latent_size, settings.action_size
    weights = parameters[:, : settings.num_parameters - a].unflatten(1, (a, -1))
    outputs: Tensor = parameters[:, None, -a:] + latents @ weights[:, :, :z].mT
    outputs = outputs + h @ weights[:, :, z:].mT
    return outputs
