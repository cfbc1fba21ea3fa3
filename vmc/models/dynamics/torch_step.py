"""M in an agent's loop as a PyTorch module, for who dreams from its state (a planner)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from vmc.models.dynamics.contract import WorldModel
from vmc.models.dynamics.state import State

Array = npt.NDArray[np.float32]


class TorchStep:
    """A `StepModel` whose state is the `WorldModel`'s own, of one row.

    Args:
        model: M, in evaluation mode on the CPU.
    """

    def __init__(self, model: WorldModel) -> None:
        self._model = model

    @torch.no_grad()
    def initial(self, latent: Array) -> State:
        return self._model.initial(torch.from_numpy(latent)[None])

    @torch.no_grad()
    def observe(self, state: State, action: Array, latent: Array) -> State:
        return self._model.observe(state, torch.from_numpy(action)[None], torch.from_numpy(latent)[None])

    def features(self, state: State) -> Mapping[str, Array]:
        return {name: part[0].numpy() for name, part in self._model.features(state).items()}
