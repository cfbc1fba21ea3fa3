"""Dreams on a GPU: a step of all of them is one CUDA graph, so that the GPU never waits for Python between kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vmc.control.return_accumulator import ReturnAccumulator, SoftCap
from vmc.dream.world import DreamWorld, Noise
from vmc.envs import ActionMap
from vmc.models.backbones.contract import Hidden
from vmc.models.controller import ControllerSettings, controller_outputs

# Steps between two looks at whether any dream is still going: each waits for the GPU.
_LOOK_EVERY = 32
# PyTorch's own examples run a function so often on a side stream before they capture it.
_WARM_UPS = 3


class Episodes(NamedTuple):
    """What R dreams begin with and meet, the same for every candidate.

    Attributes:
        latents: (R, Z).
        hidden: M's state, fields (R, H).
        noise: of M, fields (T, R, ...).
        action_noise: what is added to C's outputs, (T, R, A).
    """

    latents: Tensor
    hidden: Hidden
    noise: Noise
    action_noise: Tensor


class GraphedDreams:
    """P x R dreams in tensors that stay where they are, which is what a graph wants.

    A graph has one shape, so dreams that have ended are stepped on, and earn nothing.

    Args:
        candidates: (P, N), episodes: examples, for the shapes.
    """

    def __init__(
        self,
        world: DreamWorld,
        controller: ControllerSettings,
        action_map: ActionMap,
        candidates: Tensor,
        episodes: Episodes,
    ) -> None:
        self._world, self._controller, self._action_map = world, controller, action_map
        latents = episodes.latents
        self._shape = shape = (len(candidates), len(latents))
        self._candidates = candidates.clone()
        self._numbers = _side_by_side(episodes)
        self._latents = _in_each(latents, shape[0])
        self._hidden = Hidden(*(_in_each(part, shape[0]) for part in episodes.hidden))
        self._alive = torch.ones(shape[0] * shape[1], dtype=torch.bool, device=latents.device)
        self._rows = torch.arange(len(self._alive), device=latents.device)
        self._rows_at_t = self._rows % shape[1]
        self._returns = ReturnAccumulator(len(self._alive), latents.device, None)
        self._lengths = torch.zeros_like(self._alive, dtype=torch.int64)
        self._advance = _captured(self._step) if latents.device.type == "cuda" else self._step

    def run(self, candidates: Tensor, episodes: Episodes, soft_cap: SoftCap | None) -> tuple[ReturnAccumulator, Tensor]:
        """What each of the P * R dreams earned, and its length; arguments as at the start.

        The next run overwrites both.
        """
        self._candidates.copy_(candidates)
        self._numbers.copy_(_side_by_side(episodes))
        self._rows_at_t.copy_(self._rows % self._shape[1])
        for kept, start in zip((self._latents, *self._hidden), (episodes.latents, *episodes.hidden), strict=True):
            kept.copy_(_in_each(start, self._shape[0]))
        self._lengths.zero_()
        self._returns.restart(soft_cap)
        self._alive.fill_(True)
        for t in range(len(episodes.action_noise)):
            if t % _LOOK_EVERY == 0 and not self._alive.any():
                break
            self._advance()
            self._returns.end_step()
        self._returns.finish()
        return self._returns, self._lengths

    def _step(self) -> None:
        outputs = controller_outputs(self._controller, self._candidates, self._latents, self._hidden)
        numbers, size = self._numbers.index_select(0, self._rows_at_t), self._world.latent_size
        uniform, normal, termination, action_noise = numbers.split([size, size, 1, outputs.shape[1]], dim=1)
        actions = self._action_map.torch(outputs + action_noise)
        step = self._world.step(self._latents, self._hidden, actions, Noise(uniform, normal, termination[:, 0]))
        self._returns.add(torch.where(self._alive, step.rewards, 0), self._rows)
        self._lengths.add_(self._alive)
        self._alive.logical_and_(~step.terminated)
        for kept, new in zip((self._latents, *self._hidden), (step.latents, *step.hidden), strict=True):
            kept.copy_(new)
        # Around at the end, so that warming up cannot run out of random numbers.
        self._rows_at_t.add_(self._shape[1]).remainder_(len(self._numbers))


def _side_by_side(episodes: Episodes) -> Tensor:
    """All random numbers of an episode's step in one row, (T * R, 2Z + 1 + A), which is read at once."""
    uniform, normal, termination = episodes.noise
    return torch.cat([uniform, normal, termination[..., None], episodes.action_noise], dim=2).flatten(0, 1)


def _in_each(start: Tensor, num_candidates: int) -> Tensor:
    """(R, ...) for each of P candidates: (P * R, ...)."""
    return start.repeat(num_candidates, *[1] * (start.dim() - 1))


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
