"""Fitness in the dream: candidates and episodes as batches of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vmc.control.cuda_graph import Episodes, GraphedDreams
from vmc.control.fitness import Array, Scores
from vmc.control.return_accumulator import ReturnAccumulator, SoftCap
from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamWorld, Noise
from vmc.envs import ActionMap
from vmc.executors import Executor
from vmc.models.backbones.contract import Hidden
from vmc.models.controller import ControllerSettings, controller_outputs
from vmc.policies import CORRELATION_STEPS, OrnsteinUhlenbeck
from vmc.seeding import stream

# Products of another number of rows are rounded otherwise, and after some hundred steps a dream is another dream. So
# blocks do not depend on the number of workers. 256 dreams cost 13% more than 1,024, and feed four cores at 64 x 16.
BLOCK_SIZE = 256
# Steps between two looks at how many dreams are still going.
_COMPACT_EVERY = 16


@dataclass(frozen=True)
class DreamJob:
    """Candidates (P, N) on R episodes.

    Attributes:
        validation: from moments of validation episodes, not of those that M was trained on.
        soft_cap: shapes the returns.
        action_noise: each dream adds correlated noise to C's outputs, of a standard deviation from U(0, `action_noise`).
    """

    candidates: Array
    seeds: Sequence[int]
    validation: bool
    soft_cap: SoftCap | None = None
    action_noise: float = 0.0


class DreamWorker:
    """Dreams a batch of candidates and episodes on one device.

    Args:
        training, validation: recorded moments that dreams begin from.
        action_map: the environment's own.
    """

    def __init__(
        self,
        world: DreamWorld,
        training: DreamStarts,
        validation: DreamStarts,
        controller: ControllerSettings,
        action_map: ActionMap,
    ) -> None:
        self._world = world
        self._starts = {False: training, True: validation}
        self._controller = controller
        self._action_map = action_map
        self._graphed: dict[tuple[int, int], GraphedDreams] = {}

    def close(self) -> None:
        """Nothing to give back."""

    @torch.no_grad()
    def run(self, job: DreamJob) -> Scores:
        """Scores (P, R); every candidate meets the same starts and the same random numbers."""
        latents, hidden = self._starts[job.validation].draw([stream(seed, "dream/start") for seed in job.seeds])
        device, horizon = latents.device, self._world.settings.horizon
        parameters = torch.from_numpy(job.candidates.astype(np.float32)).to(device)
        noise = _draw_noise(job.seeds, horizon, self._world.latent_size, device)
        action_noise = _draw_disturbance(job.seeds, job.action_noise, horizon, self._controller.action_size, device)
        dream = self._dream_on_gpu if device.type == "cuda" else self._dream
        episodes = Episodes(latents, hidden, noise, action_noise)
        sums, lengths = dream(parameters, episodes, job.soft_cap)
        grid = (len(parameters), len(latents))
        returns, shaped = (each.double().cpu().numpy().reshape(grid) for each in (sums.returns, sums.shaped_returns))
        return Scores(returns, lengths.cpu().numpy().reshape(grid), shaped)

    def _dream_on_gpu(
        self, parameters: Tensor, episodes: Episodes, soft_cap: SoftCap | None
    ) -> tuple[ReturnAccumulator, Tensor]:
        shape = (len(parameters), len(episodes.latents))
        if shape not in self._graphed:
            self._graphed[shape] = GraphedDreams(self._world, self._controller, self._action_map, parameters, episodes)
        return self._graphed[shape].run(parameters, episodes, soft_cap)

    def _dream(
        self, parameters: Tensor, episodes: Episodes, soft_cap: SoftCap | None
    ) -> tuple[ReturnAccumulator, Tensor]:
        """What each of the P * R dreams earned, and its length; those that have ended stop costing."""
        latents, hidden, noise, action_noise = episodes
        dreams = _Dreams.begin(len(parameters), latents, hidden)
        returns = ReturnAccumulator(dreams.alive.numel(), latents.device, soft_cap)
        lengths = torch.zeros(dreams.alive.numel(), dtype=torch.int64, device=latents.device)
        for t in range(self._world.settings.horizon):
            if t % _COMPACT_EVERY == 0:
                dreams = dreams.compacted()
            if not dreams.alive.numel():
                break
            candidates = parameters[dreams.candidates]
            outputs = controller_outputs(self._controller, candidates, dreams.latents, dreams.hidden)
            columns = dreams.episodes.flatten()
            actions = self._action_map.torch(outputs + action_noise[t, columns])
            at_t = Noise(*(numbers[t, columns] for numbers in noise))
            step = self._world.step(dreams.latents, dreams.hidden, actions, at_t)
            alive, rows = dreams.alive.flatten(), dreams.rows(len(latents))
            returns.add(torch.where(alive, step.rewards, 0), rows)
            lengths.index_add_(0, rows, alive.long())
            returns.end_step()
            alive = (alive & ~step.terminated).view_as(dreams.alive)
            dreams = dreams._replace(latents=step.latents, hidden=step.hidden, alive=alive)
        returns.finish()
        return returns, lengths


class _Dreams(NamedTuple):
    """The dreams that are still dreamed, a grid of P' candidates by R' episodes each.

    Attributes:
        candidates: (P',), which these are.
        episodes: (P', R').
        alive: bool (P', R'); the grid has room for as many as the candidate with the most living dreams has.
        latents, hidden: their states, (P' * R', ...).
    """

    candidates: Tensor
    episodes: Tensor
    alive: Tensor
    latents: Tensor
    hidden: Hidden

    @classmethod
    def begin(cls, num_candidates: int, latents: Tensor, hidden: Hidden) -> _Dreams:
        """Each candidate in each of R starts: latents (R, Z)."""
        p, r, device = num_candidates, len(latents), latents.device
        episodes = torch.arange(r, device=device).repeat(p, 1)
        alive = torch.ones(p, r, dtype=torch.bool, device=device)
        hidden = Hidden(hidden.h.repeat(p, 1), hidden.c.repeat(p, 1))
        return cls(torch.arange(p, device=device), episodes, alive, latents.repeat(p, 1), hidden)

    def rows(self, num_episodes: int) -> Tensor:
        """Each dream's place in (P, R) results laid out flat."""
        return (self.candidates[:, None] * num_episodes + self.episodes).flatten()

    def compacted(self) -> _Dreams:
        """Without candidates and columns that hold no living dream, where that leaves out a fifth or more."""
        living = self.alive.sum(dim=1)
        kept = living.nonzero()[:, 0]
        width = int(living.max())
        if len(kept) * width > 0.8 * self.alive.numel():
            return self
        columns = self.alive[kept].argsort(dim=1, descending=True, stable=True)[:, :width]
        cells = (kept[:, None] * self.alive.shape[1] + columns).flatten()
        return _Dreams(
            self.candidates[kept],
            self.episodes[kept].gather(1, columns),
            self.alive[kept].gather(1, columns),
            self.latents[cells],
            Hidden(self.hidden.h[cells], self.hidden.c[cells]),
        )


class DreamFitness:
    """Fitness in the dream, by blocks of candidates that the workers share.

    Args:
        validation: start from validation episodes.
        soft_cap, action_noise: as a `DreamJob` has them.
        block_size: about how many dreams a block has; None makes one block of all.
    """

    def __init__(
        self,
        executor: Executor[DreamJob, Scores],
        validation: bool,
        soft_cap: SoftCap | None = None,
        action_noise: float = 0.0,
        block_size: int | None = BLOCK_SIZE,
    ) -> None:
        self._executor = executor
        self._validation = validation
        self._soft_cap = soft_cap
        self._action_noise = action_noise
        self._block_size = block_size

    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        num_dreams = len(candidates) * len(seeds)
        num_blocks = ceil(num_dreams / (self._block_size or num_dreams))
        blocks = np.array_split(candidates, min(num_blocks, len(candidates)))
        scores: list[Scores | None] = [None] * len(blocks)
        jobs = [DreamJob(block, seeds, self._validation, self._soft_cap, self._action_noise) for block in blocks]
        for position, block_scores in self._executor.map(jobs):
            scores[position] = block_scores
            if on_episodes is not None:
                on_episodes(block_scores.returns.size)
        done = [block_scores for block_scores in scores if block_scores is not None]
        returns, lengths, shaped = (
            np.concatenate([getattr(each, name) for each in done]) for name in ("returns", "lengths", "shaped_returns")
        )
        return Scores(returns, lengths, shaped)


def _draw_noise(seeds: Sequence[int], horizon: int, latent_size: int, device: torch.device) -> Noise:
    """All random numbers of R episodes, one stream each: fields (T, R, ...)."""
    fields = []
    for generator in [stream(seed, "dream/noise") for seed in seeds]:
        uniform = generator.random((horizon, latent_size + 1), np.float32)
        fields.append((uniform[:, 1:], generator.standard_normal((horizon, latent_size), np.float32), uniform[:, 0]))
    return Noise(*(torch.from_numpy(np.stack(column, axis=1)).to(device) for column in zip(*fields, strict=True)))


def _draw_disturbance(
    seeds: Sequence[int], largest: float, horizon: int, action_size: int, device: torch.device
) -> Tensor:
    """What is added to C's outputs in R dreams, (T, R, A): noise like that of collected drives (`Exploration`)."""
    columns = np.zeros((len(seeds), horizon, action_size), np.float32)
    if largest:
        for column, seed in zip(columns, seeds, strict=True):
            generator, process = stream(seed, "dream/action_noise"), OrnsteinUhlenbeck(action_size, CORRELATION_STEPS)
            scale = generator.uniform(0, largest)
            process.reset(generator)
            column[:] = [scale * process.step() for _ in range(horizon)]
    return torch.from_numpy(columns.swapaxes(0, 1)).to(device)
