"""Fitness of candidates: the contract, the real environment and the dream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamWorld
from vmc.envs import ActionSquash, make_env
from vmc.episode import Limits, Outcome, run_episode
from vmc.executors import Executor
from vmc.models.agent import load_body
from vmc.models.controller import ControllerSettings, LinearController, controller_outputs
from vmc.models.dynamics import Hidden
from vmc.seeding import stream, torch_stream

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Episode returns and lengths, each (P, R): candidate by episode. A fitness is a row's mean return."""

    returns: Array
    lengths: npt.NDArray[np.int64]


class Fitness(Protocol):
    """Scores candidates on episodes. A score depends on the candidate and the episode's seed alone."""

    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        """Candidates (P, N) on R episodes, the same for all of them; tells how many have ended meanwhile."""
        ...


@dataclass(frozen=True)
class EpisodeJob:
    """One candidate, one episode of the real environment."""

    parameters: Array
    env_seed: int
    limits: Limits


class EpisodeWorker:
    """Keeps an environment, V's encoder and M; runs whole episodes for any candidate."""

    def __init__(self, run: Path, env: str) -> None:
        self._agent, self._shape = load_body(run, env)
        self._env = make_env(env)

    def run(self, job: EpisodeJob) -> Outcome:
        self._agent.use(LinearController(self._shape, job.parameters))
        return run_episode(self._env, self._agent, job.env_seed, stream(job.env_seed, "agent"), job.limits)

    def close(self) -> None:
        self._env.close()


class RealFitness:
    """Fitness in the real environment, on an executor of `EpisodeWorker`s."""

    def __init__(self, executor: Executor[EpisodeJob, Outcome], limits: Limits) -> None:
        self._executor = executor
        self._limits = limits

    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        jobs = [EpisodeJob(candidate, seed, self._limits) for candidate in candidates for seed in seeds]
        returns, lengths = np.empty(len(jobs)), np.empty(len(jobs), np.int64)
        for position, outcome in self._executor.map(jobs):
            returns[position], lengths[position] = outcome.episode_return, outcome.episode_length
            if on_episodes is not None:
                on_episodes(1)
        shape = (len(candidates), len(seeds))
        return Scores(returns.reshape(shape), lengths.reshape(shape))


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
