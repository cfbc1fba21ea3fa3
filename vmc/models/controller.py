"""C: from [z, h] to an action's pre-action_map outputs, linear or with one hidden layer (paper, section 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

    from vmc.models.backbones.contract import Hidden

Array = npt.NDArray[np.float32]
# What C may see of V's latent z and of M's state h and c: the paper's "V only", its full model, and its DoomRNN.
INPUTS = ("z", "zh", "zch")


@dataclass(frozen=True)
class ControllerSettings:
    """C's shape: 867 parameters on CarRacing for `zh` and no hidden layer.

    Attributes:
        latent_size, hidden_size, action_size: Z, H and A.
        inputs: one of `INPUTS`.
        hidden_units: U, tanh units between inputs and outputs; 0 is linear, the paper's "V only" row has 40.
    """

    latent_size: int
    hidden_size: int
    action_size: int
    inputs: str = "zh"
    hidden_units: int = 0

    @property
    def input_size(self) -> int:
        """I, how many numbers C sees."""
        return self.latent_size + self.hidden_size * (len(self.inputs) - 1)

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of each layer, in the order of the parameter vector."""
        if not self.hidden_units:
            return [(self.action_size, self.input_size)]
        return [(self.hidden_units, self.input_size), (self.action_size, self.hidden_units)]

    @property
    def num_parameters(self) -> int:
        """For each layer its weights, row by row, then its biases: the vector that CMA-ES searches."""
        return sum(outputs * (inputs + 1) for outputs, inputs in self.layers)


class Controller:
    """C for one parameter vector, in NumPy: what runs in an environment's loop.

    Args:
        parameters: (num_parameters,).
    """

    def __init__(self, settings: ControllerSettings, parameters: npt.NDArray[np.floating]) -> None:
        parameters = np.asarray(parameters, np.float32)
        self._inputs = settings.inputs
        self._layers = []
        first = 0
        for outputs, inputs in settings.layers:
            weights, biases = first + outputs * inputs, first + outputs * (inputs + 1)
            self._layers.append((parameters[first:weights].reshape(outputs, inputs), parameters[weights:biases]))
            first = biases

    def __call__(self, latent: Array, h: Array, c: Array) -> Array:
        """Latent (Z,) and M's state h and c, each (H,), to outputs (A,), before the action_map."""
        seen = {"z": latent, "h": h, "c": c}
        values: Array = np.concatenate([seen[name] for name in self._inputs])
        for number, (weights, biases) in enumerate(self._layers):
            values = weights @ (np.tanh(values) if number else values) + biases
        return values


def controller_outputs(settings: ControllerSettings, parameters: Tensor, latents: Tensor, hidden: Hidden) -> Tensor:
    """The same for a population, each candidate with its own parameters and its own batch.

    Args:
        parameters: (P, num_parameters).
        latents: (P * R, Z).
        hidden: M's state, fields (P * R, H).

    Returns:
        (P * R, A) outputs before the action_map.
    """
    seen = {"z": latents, "h": hidden.h, "c": hidden.c}
    # The first layer is a sum over its inputs, which saves putting them side by side.
    values: list[Tensor] = [seen[name].unflatten(0, (len(parameters), -1)) for name in settings.inputs]
    first = 0
    for outputs, inputs in settings.layers:
        last = first + outputs * inputs
        weights = parameters[:, first:last].unflatten(1, (outputs, inputs))
        total = parameters[:, None, last : last + outputs]
        for value, part in zip(values, weights.split([value.shape[-1] for value in values], dim=2), strict=True):
            total = total + value @ part.mT
        values, first = [total.tanh()], last + outputs
    return total.flatten(0, 1)
