"""C: from features such as [z, h] to an action's outputs, linear or with one hidden layer (paper, section 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from vmc.config import option

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float32]
Features = Mapping[str, Array]
# What C may read of M's features: the paper's "V only", its full model, and its DoomRNN.
INPUTS = ("z", "zh", "zch")


class Controller(Protocol):
    """C in an agent's loop: what a linear map, a network or a planner has to do."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begins an episode, with a random stream of its own."""
        ...

    def act(self, features: Features) -> Array:
        """M's features of this frame, by name, to outputs (A,), before the action map."""
        ...


@dataclass(frozen=True)
class LinearSettings:
    """C's shape: 867 parameters on CarRacing for `zh` and no hidden layer.

    Attributes:
        inputs: the features that C reads, in this order; one of `INPUTS`.
        input_size: I, their width.
        action_size: A.
        hidden_units: tanh units between inputs and outputs; 0 is linear, the paper's "V only" row has 40.
    """

    inputs: str = option(choices=INPUTS)
    input_size: int = option(least=1)
    action_size: int = option(least=1)
    hidden_units: int = option(0, least=0)

    @property
    def layers(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of each layer, in the order of the parameter vector."""
        if not self.hidden_units:
            return [(self.action_size, self.input_size)]
        return [(self.hidden_units, self.input_size), (self.action_size, self.hidden_units)]

    @property
    def num_parameters(self) -> int:
        """Packs each layer's weights, row by row, then its biases: the vector that CMA-ES searches."""
        return sum(outputs * (inputs + 1) for outputs, inputs in self.layers)


@dataclass(frozen=True)
class PlannerSettings:
    """How a planner searches at every step (`vmc.models.planner`).

    Attributes:
        plan_steps: dreamed ahead.
        plan_iterations: of the cross-entropy method.
        plan_candidates: dreams of an iteration.
        temperature: of these dreams.
    """

    plan_steps: int = option(least=1)
    plan_iterations: int = option(least=1)
    plan_candidates: int = option(least=4)
    temperature: float = option(above=0)


class LinearController:
    """C for one parameter vector, in NumPy: a `Controller` without a state of its own.

    a = W [z, h] + b (paper, equation 1), or with a layer of tanh units in between.

    Args:
        parameters: (num_parameters,), kept as float32.
    """

    def __init__(self, settings: LinearSettings, parameters: npt.NDArray[np.floating[Any]]) -> None:
        parameters = np.asarray(parameters, np.float32)
        self.settings, self.parameters = settings, parameters
        self._inputs = settings.inputs
        self._layers = []
        first = 0
        for outputs, inputs in settings.layers:
            weights, biases = first + outputs * inputs, first + outputs * (inputs + 1)
            self._layers.append((parameters[first:weights].reshape(outputs, inputs), parameters[weights:biases]))
            first = biases

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to begin."""

    def act(self, features: Features) -> Array:
        values: Array = np.concatenate([features[name] for name in self._inputs])
        for number, (weights, biases) in enumerate(self._layers):
            values = weights @ (np.tanh(values) if number else values) + biases
        return values


def population_outputs(settings: LinearSettings, parameters: Tensor, features: Mapping[str, Tensor]) -> Tensor:
    """`LinearController.act` for a population, each candidate with its own parameters and its own R rows.

    Args:
        parameters: (P, num_parameters).
        features: by name, each (P * R, width).

    Returns:
        (P * R, A) outputs before the action map.
    """
    # The first layer is a sum over its inputs, which saves putting them side by side.
    values: list[Tensor] = [features[name].unflatten(0, (len(parameters), -1)) for name in settings.inputs]
    first = 0
    for outputs, inputs in settings.layers:
        last = first + outputs * inputs
        weights = parameters[:, first:last].unflatten(1, (outputs, inputs))
        total = parameters[:, None, last : last + outputs]
        for value, part in zip(values, weights.split([value.shape[-1] for value in values], dim=2), strict=True):
            total = total + value @ part.mT
        values, first = [total.tanh()], last + outputs
    return total.flatten(0, 1)
