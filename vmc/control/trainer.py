"""The contract of a trainer: one way to find C. Validation, keep-best and resume are not its business (`loop.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]


class Generation(NamedTuple):
    """One generation of a trainer.

    Attributes:
        metrics: for the log.
        num_steps: environment steps that it took.
    """

    metrics: dict[str, float]
    num_steps: int


class Trainer(Protocol):
    """Finds C's parameters, generation by generation.

    A generation depends on the trainer's state and the generation's number alone, so that a resumed search ends where
    the uninterrupted one would have ended.
    """

    @property
    def parameters(self) -> Array:
        """The present C, (N,): the one that is validated."""
        ...

    @property
    def episodes_per_generation(self) -> int:
        """The text for the progress bar."""
        ...

    def train(self, generation: int, on_episodes: Callable[[int], None]) -> Generation:
        """Trains one generation; tells how many episodes have ended meanwhile."""
        ...

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """All that decides the next generations: arrays, and JSON values."""
        ...

    def restore(self, arrays: Arrays, values: Mapping[str, Any]) -> None:
        """Puts back what `state` gave."""
        ...


class Fixed:
    """A `Trainer` that leaves C as it is: a planner needs no other.

    Args:
        parameters: C's, (N,); where they are 0, C proposes nothing to the planner.
    """

    episodes_per_generation = 0

    def __init__(self, parameters: Array) -> None:
        self.parameters = parameters

    def train(self, generation: int, on_episodes: Callable[[int], None]) -> Generation:
        """Trains nothing."""
        return Generation({}, 0)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Nothing beside the parameters."""
        return {}, {}

    def restore(self, arrays: Arrays, values: Mapping[str, Any]) -> None:
        """Nothing to put back."""
