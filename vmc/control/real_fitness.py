"""Fitness in the real environment, episode by episode on an executor. No torch: its workers need none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vmc.control.fitness import Array, Scores
from vmc.envs import make_env
from vmc.episode import EpisodeResult, Limits, run_episode
from vmc.executors import Executor
from vmc.models.agent import Body
from vmc.models.controller import LinearController, LinearSettings, PlannerSettings
from vmc.seeding import stream


@dataclass(frozen=True)
class EpisodeJob:
    """One candidate, one episode of the real environment."""

    parameters: Array
    env_seed: int
    limits: Limits


class EpisodeWorker:
    """Keeps an environment, V's encoder and M; runs whole episodes for any candidate of one shape."""

    def __init__(self, body: Body, env: str, shape: LinearSettings, planning: PlannerSettings | None = None) -> None:
        self._agent = body.agent(planning=planning)
        self._shape = shape
        self._env = make_env(env)

    def run(self, job: EpisodeJob) -> EpisodeResult:
        self._agent.use(LinearController(self._shape, job.parameters))
        return run_episode(self._env, self._agent, job.env_seed, stream(job.env_seed, "agent"), job.limits)

    def close(self) -> None:
        self._env.close()


class RealFitness:
    """Fitness in the real environment, on an executor of `EpisodeWorker`s."""

    def __init__(self, executor: Executor[EpisodeJob, EpisodeResult], limits: Limits) -> None:
        self._executor = executor
        self._limits = limits

    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        jobs = [EpisodeJob(candidate, seed, self._limits) for candidate in candidates for seed in seeds]
        returns, lengths = np.empty(len(jobs)), np.empty(len(jobs), np.int64)
        for position, result in self._executor.map(jobs):
            returns[position], lengths[position] = result.episode_return, result.episode_length
            if on_episodes is not None:
                on_episodes(1)
        shape = (len(candidates), len(seeds))
        return Scores(returns.reshape(shape), lengths.reshape(shape), returns.reshape(shape))
