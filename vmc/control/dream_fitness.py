"""Fitness in the dream: candidates and episodes as batches of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vmc.control.cuda_graph import Episodes, GraphDreams
from vmc.control.fitness import Array, Scores
from vmc.control.return_accumulator import ReturnAccumulator, SoftCap
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamWorld
from vmc.envs import ActionMap
from vmc.executors import Executor
from vmc.models.controller import LinearSettings, population_outputs
from vmc.models.dynamics.noise import Noise, draw_noise
from vmc.models.dynamics.state import State
from vmc.policies import CORRELATION_STEPS, OrnsteinUhlenbeck
from vmc.seeding import stream

# Products of another number of rows are rounded otherwise, and after some hundred steps a dream is another dream. So
# blocks do not depend on the number of workers. 256 dreams cost 13% more than 1,024, and feed four cores at 64 x 16.
BLOCK_SIZE = 256
# On the GPUs of a cluster, as on a processor: 4,096 keep a GPU busy (measured in docs/experiments/gpu-dream.md).
GPU_BLOCK_SIZE = 4096
# Steps between two removals of dreams that have ended from the batch.
_COMPACT_EVERY = 16


@dataclass(frozen=True)
class DreamJob:
    """Candidates (P, N) on R episodes.

    Attributes:
        starts: M's state where they begin, R rows. NumPy arrays, since a job may go to another machine.
        soft_cap: shapes the returns.
        action_noise: each dream adds correlated noise to C's outputs, whose standard deviation it draws from
            U(0, `action_noise`).
    """

    candidates: Array
    seeds: Sequence[int]
    starts: State
    soft_cap: SoftCap | None = None
    action_noise: float = 0.0


class DreamWorker:
    """Dreams a batch of candidates and episodes on one device.

    Args:
        controller: C's shape.
        action_map: the environment's own.
    """

    def __init__(
        self,
        world: DreamWorld,
        settings: DreamSettings,
        controller: LinearSettings,
        action_map: ActionMap,
    ) -> None:
        self._world = world
        self._settings = settings
        self._controller = controller
        self._action_map = action_map
        self._graphs: dict[tuple[int, int], GraphDreams] = {}

    def close(self) -> None:
        """Nothing to give back."""

    @torch.no_grad()
    def run(self, job: DreamJob) -> Scores:
        """Scores (P, R); every candidate meets the same starts and the same random numbers."""
        device, horizon = self._world.device, self._settings.horizon
        state = job.starts.map(lambda part: torch.from_numpy(part).to(device))
        parameters = torch.from_numpy(job.candidates.astype(np.float32)).to(device)
        generators = [stream(seed, "dream/noise") for seed in job.seeds]
        noise = draw_noise(generators, horizon, self._world.noise_sizes, device)
        action_noise = _draw_action_noise(job.seeds, job.action_noise, horizon, self._controller.action_size, device)
        dream = self._dream_on_gpu if device.type == "cuda" else self._dream
        sums, lengths = dream(parameters, Episodes(state, noise, action_noise), job.soft_cap)
        grid = (len(parameters), len(job.seeds))
        returns, shaped = (each.double().cpu().numpy().reshape(grid) for each in (sums.returns, sums.shaped_returns))
        return Scores(returns, lengths.cpu().numpy().reshape(grid), shaped)

    def _dream_on_gpu(
        self, parameters: Tensor, episodes: Episodes, soft_cap: SoftCap | None
    ) -> tuple[ReturnAccumulator, Tensor]:
        shape = (len(parameters), len(episodes.state[0]))
        if shape not in self._graphs:
            parts = self._world, self._settings, self._controller, self._action_map
            self._graphs[shape] = GraphDreams(*parts, parameters, episodes)
        return self._graphs[shape].run(parameters, episodes, soft_cap)

    def _dream(
        self, parameters: Tensor, episodes: Episodes, soft_cap: SoftCap | None
    ) -> tuple[ReturnAccumulator, Tensor]:
        """The returns of the P * R dreams, and their lengths; dreams that have ended stop costing."""
        state, noise, action_noise = episodes
        num_episodes = len(state[0])
        dreams = _Dreams.begin(len(parameters), state)
        sums = ReturnAccumulator(dreams.alive.numel(), parameters.device, soft_cap)
        lengths = torch.zeros(dreams.alive.numel(), dtype=torch.int64, device=parameters.device)
        for t in range(self._settings.horizon):
            if t % _COMPACT_EVERY == 0:
                dreams = dreams.compacted()
            if not dreams.alive.numel():
                break
            features = self._world.features(dreams.state)
            outputs = population_outputs(self._controller, parameters[dreams.candidates], features)
            columns = dreams.episodes.flatten()
            actions = self._action_map.torch(outputs + action_noise[t, columns])
            at_t = Noise(*(numbers[t, columns] for numbers in noise))
            step = self._world.step(dreams.state, actions, at_t, self._settings)
            alive, rows = dreams.alive.flatten(), dreams.rows(num_episodes)
            sums.add(torch.where(alive, step.rewards, 0), rows)
            lengths.index_add_(0, rows, alive.long())
            sums.end_step()
            alive = (alive & ~step.terminated).view_as(dreams.alive)
            dreams = dreams._replace(state=step.state, alive=alive)
        sums.finish()
        return sums, lengths


class _Dreams(NamedTuple):
    """The dreams that go on, a grid of P' candidates by R' episodes each.

    Attributes:
        candidates: (P',), their numbers.
        episodes: (P', R'), their numbers.
        alive: bool (P', R'); the grid has room for as many as the candidate with the most living dreams has.
        state: M's, of P' * R' rows.
    """

    candidates: Tensor
    episodes: Tensor
    alive: Tensor
    state: State

    @classmethod
    def begin(cls, num_candidates: int, state: State) -> _Dreams:
        """Each candidate at each of R starts."""
        p, r, device = num_candidates, len(state[0]), state[0].device
        episodes = torch.arange(r, device=device).repeat(p, 1)
        alive = torch.ones(p, r, dtype=torch.bool, device=device)
        return cls(torch.arange(p, device=device), episodes, alive, state.tiled(p))

    def rows(self, num_episodes: int) -> Tensor:
        """Each dream's place in (P, R) results laid out flat."""
        return (self.candidates[:, None] * num_episodes + self.episodes).flatten()

    def compacted(self) -> _Dreams:
        """Drops the candidates and columns that hold no living dream, if that leaves out a fifth or more."""
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
            self.state.rows(cells),
        )


class DreamFitness:
    """Fitness in the dream, by blocks of candidates that the workers share.

    Args:
        starts: gives the moments that dreams begin at. It is called with the first dream.
        soft_cap, action_noise: as a `DreamJob` has them.
        block_size: about how many dreams a block has; None makes one block of all.
    """

    def __init__(
        self,
        executor: Executor[DreamJob, Scores],
        starts: Callable[[], DreamStarts],
        soft_cap: SoftCap | None = None,
        action_noise: float = 0.0,
        block_size: int | None = BLOCK_SIZE,
    ) -> None:
        self._executor = executor
        self._starts = starts
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
        drawn = draw_starts(self._starts(), seeds)
        jobs = [DreamJob(block, seeds, drawn, self._soft_cap, self._action_noise) for block in blocks]
        for position, block_scores in self._executor.map(jobs):
            scores[position] = block_scores
            if on_episodes is not None:
                on_episodes(block_scores.returns.size)
        done = [block_scores for block_scores in scores if block_scores is not None]
        returns, lengths, shaped = (
            np.concatenate([getattr(each, name) for each in done]) for name in ("returns", "lengths", "shaped_returns")
        )
        return Scores(returns, lengths, shaped)


def draw_starts(starts: DreamStarts, seeds: Sequence[int]) -> State:
    """M's state where the dreams with these seeds begin, as NumPy arrays of R rows."""
    return starts.draw([stream(seed, "dream/start") for seed in seeds]).map(lambda part: part.cpu().numpy())


def _draw_action_noise(
    seeds: Sequence[int], largest: float, horizon: int, action_size: int, device: torch.device
) -> Tensor:
    """Noise on C's outputs in R dreams, (T, R, A): correlated as in collected episodes (`ActionNoise`)."""
    columns = np.zeros((len(seeds), horizon, action_size), np.float32)
    if largest:
        for column, seed in zip(columns, seeds, strict=True):
            # The name of the stream is older than that of the option; another one would give other dreams.
            generator, process = stream(seed, "dream/disturbance"), OrnsteinUhlenbeck(action_size, CORRELATION_STEPS)
            scale = generator.uniform(0, largest)
            process.reset(generator)
            column[:] = [scale * process.step() for _ in range(horizon)]
    return torch.from_numpy(columns.swapaxes(0, 1)).to(device)
