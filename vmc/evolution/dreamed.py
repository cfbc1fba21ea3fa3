"""Fitness in the dream: a generation as one batch of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamWorld
from vmc.envs import ActionSquash
from vmc.evolution.fitness import Array, Scores
from vmc.models.controller import ControllerSettings, controller_outputs
from vmc.models.dynamics import Hidden
from vmc.seeding import torch_stream


class DreamFitness:
    """Fitness in the dream: all candidates and episodes as one batch on one device.

    Args:
        starts: recorded moments that dreams begin from.
        squash: the environment's own.
    """

    def __init__(
        self, world: DreamWorld, starts: DreamStarts, controller: ControllerSettings, squash: ActionSquash
    ) -> None:
        self._world = world
        self._starts = starts
        self._controller = controller
        self._squash = squash

    @torch.no_grad()
    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        generators = [torch_stream(seed, "dream") for seed in seeds]
        latents, hidden = self._starts.draw(generators)
        device, p, r = latents.device, len(candidates), len(seeds)
        # The same start and the same random numbers for every candidate.
        latents = latents.repeat(p, 1)
        hidden = Hidden(hidden.h.repeat(p, 1), hidden.c.repeat(p, 1))
        parameters = torch.from_numpy(candidates.astype(np.float32)).to(device)
        returns = torch.zeros(p * r, dtype=torch.float64, device=device)
        lengths = torch.zeros(p * r, dtype=torch.int64, device=device)
        alive = torch.ones(p * r, dtype=torch.bool, device=device)
        for _ in range(self._world.settings.horizon):
            views = (latents.view(p, r, -1), hidden.h.view(p, r, -1))
            outputs = controller_outputs(self._controller, parameters, *views).view(p * r, -1)
            uniform, normal = (noise.to(device).repeat(p, 1) for noise in _noise(generators, latents.shape[1]))
            step = self._world.step(latents, hidden, self._squash.torch(outputs), uniform, normal)
            latents, hidden = step.latents, step.hidden
            returns += torch.where(alive, step.rewards, 0)
            lengths += alive
            alive &= ~step.terminated
            if not alive.any():
                break
        if on_episodes is not None:
            on_episodes(p * r)
        return Scores(returns.view(p, r).cpu().numpy(), lengths.view(p, r).cpu().numpy())


def _noise(generators: list[torch.Generator], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A step's random numbers, one stream an episode: U(0, 1) and N(0, 1), each (R, Z)."""
    uniform = torch.stack([torch.rand(size, generator=generator) for generator in generators])
    normal = torch.stack([torch.randn(size, generator=generator) for generator in generators])
    return uniform, normal
