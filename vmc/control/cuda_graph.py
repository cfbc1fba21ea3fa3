"""Dreams on a GPU: a step of all of them is one CUDA graph, so that the GPU never waits for Python between kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vmc.control.return_accumulator import ReturnAccumulator, SoftCap
from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld
from vmc.envs import ActionMap
from vmc.models.controller import LinearSettings, population_outputs
from vmc.models.dynamics.noise import Noise
from vmc.models.dynamics.state import State

# Steps between two checks whether any dream goes on: each waits for the GPU.
_CHECK_EVERY = 32
# PyTorch's own examples run a function three times on a side stream before they capture it.
_WARM_UPS = 3


class Episodes(NamedTuple):
    """The starts and random numbers of R dreams, the same for every candidate.

    Attributes:
        state: M's, of R rows.
        noise: of M, fields (T, R, ...).
        action_noise: on C's outputs, (T, R, A).
    """

    state: State
    noise: Noise
    action_noise: Tensor


class GraphDreams:
    """P x R dreams in tensors that stay where they are, as a graph needs them.

    A graph has one shape, so dreams that have ended are stepped on, and their rewards are 0.

    Args:
        candidates: (P, N), episodes: examples, for the shapes.
    """

    def __init__(
        self,
        world: DreamWorld,
        settings: DreamSettings,
        controller: LinearSettings,
        action_map: ActionMap,
        candidates: Tensor,
        episodes: Episodes,
    ) -> None:
        self._world, self._settings = world, settings
        self._controller, self._action_map = controller, action_map
        device = candidates.device
        self._shape = shape = (len(candidates), len(episodes.state[0]))
        self._candidates = candidates.clone()
        self._numbers = _side_by_side(episodes)
        self._state = episodes.state.tiled(shape[0])
        self._alive = torch.ones(shape[0] * shape[1], dtype=torch.bool, device=device)
        self._rows = torch.arange(len(self._alive), device=device)
        self._rows_at_t = self._rows % shape[1]
        self._returns = ReturnAccumulator(len(self._alive), device, None)
        self._lengths = torch.zeros_like(self._alive, dtype=torch.int64)
        self._advance = _captured(self._step) if device.type == "cuda" else self._step

    def run(self, candidates: Tensor, episodes: Episodes, soft_cap: SoftCap | None) -> tuple[ReturnAccumulator, Tensor]:
        """The returns of the P * R dreams, and their lengths; arguments as at the start.

        The next run overwrites both.
        """
        self._candidates.copy_(candidates)
        self._numbers.copy_(_side_by_side(episodes))
        self._rows_at_t.copy_(self._rows % self._shape[1])
        self._overwrite_state(episodes.state.tiled(self._shape[0]))
        self._lengths.zero_()
        self._returns.restart(soft_cap)
        self._alive.fill_(True)
        for t in range(len(episodes.action_noise)):
            if t % _CHECK_EVERY == 0 and not self._alive.any():
                break
            self._advance()
            self._returns.end_step()
        self._returns.finish()
        return self._returns, self._lengths

    def _step(self) -> None:
        outputs = population_outputs(self._controller, self._candidates, self._world.features(self._state))
        numbers, sizes = self._numbers.index_select(0, self._rows_at_t), self._world.noise_sizes
        uniform, normal, termination, action_noise = numbers.split([*sizes, 1, outputs.shape[1]], dim=1)
        actions = self._action_map.torch(outputs + action_noise)
        step = self._world.step(self._state, actions, Noise(uniform, normal, termination[:, 0]), self._settings)
        self._returns.add(torch.where(self._alive, step.rewards, 0), self._rows)
        self._lengths.add_(self._alive)
        self._alive.logical_and_(~step.terminated)
        self._overwrite_state(step.state)
        # Around at the end, so that warming up cannot run out of random numbers.
        self._rows_at_t.add_(self._shape[1]).remainder_(len(self._numbers))

    def _overwrite_state(self, state: State) -> None:
        for kept, new in zip(self._state, state, strict=True):
            kept.copy_(new)


def _side_by_side(episodes: Episodes) -> Tensor:
    """All random numbers of an episode's step in one row, (T * R, U + N + 1 + A), which is read at once."""
    uniform, normal, termination = episodes.noise
    return torch.cat([uniform, normal, termination[..., None], episodes.action_noise], dim=2).flatten(0, 1)


def _captured(step: Callable[[], None]) -> Callable[[], None]:
    """`step`, which may use nothing but tensors that stay where they are, as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay: Callable[[], None] = graph.replay
    return replay
