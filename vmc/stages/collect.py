"""Stage `rollouts`: episodes from the real environment to HDF5, in worker processes.

This module imports no torch, so that a worker with a random policy starts in a second.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vmc.config import changed
from vmc.envs import action_map_of, check_env, make_env, preprocessing_of
from vmc.episode import Limits, Policy, Trajectory, run_episode
from vmc.errors import VmcError
from vmc.executors import Workers, make_executor
from vmc.models.agent import CandidatePolicy, load_body, make_agent, step_size_of
from vmc.models.checkpoints import load_controller
from vmc.policies import POLICIES
from vmc.progress import Progress
from vmc.seeding import env_seed, stream
from vmc.stages.settings import HUMAN, CollectSettings
from vmc.storage.files import locked, write_bytes
from vmc.storage.rollouts import (
    Episode,
    RolloutDataset,
    Source,
    check_env_matches,
    encode_shard,
    present_indices,
    shard_path,
)

# Small enough that two workers share even a small job, large enough that 10,000 episodes are 2,500 files.
_EPISODES_PER_SHARD = 4


@dataclass(frozen=True)
class Collected:
    """The result of `collect`.

    Attributes:
        nothing_to_do: where no episode was missing: what the folder holds, as a sentence; else empty.
    """

    added_episodes: int
    added_steps: int
    num_episodes: int
    num_frames: int
    mean_return: float
    seconds: float
    nothing_to_do: str = ""


def collect(settings: CollectSettings, data: Path, run: Path | None, workers: Workers) -> Collected:
    """Brings the folder `data` to `settings.episodes` episodes.

    Args:
        run: the run whose V, M and C drive, for the policy `controller`.

    Raises:
        VmcError: a folder of another environment or with other limits, a damaged shard, a folder that cannot be
            written.
    """
    if settings.policy == HUMAN:
        raise VmcError("The policy `human` needs a person at a page.", "Run `vmc rollouts --policy human` first.")
    preprocessing = check_env(settings.env, settings.max_steps)
    started = time.monotonic()  # what is compiled at the first start does not count
    with locked(data):
        present = check_folder(settings, data, preprocessing)
        missing = [index for index in range(settings.episodes) if index not in present]
        jobs = [missing[i : i + _EPISODES_PER_SHARD] for i in range(0, len(missing), _EPISODES_PER_SHARD)]
        steps = 0
        make_worker = partial(_CollectWorker, settings, *_drivers(settings, run))
        with (
            closing(make_executor(make_worker, workers)) as executor,
            Progress("rollouts", len(missing), "episodes") as progress,
        ):
            for position, shard in executor.map(jobs):
                write_bytes(shard_path(data, jobs[position]), shard.content)
                steps += shard.num_steps
                progress.advance(len(jobs[position]), mean_return=shard.mean_return)
        dataset = RolloutDataset(data)
    mean_return = float(np.mean([episode.episode_return for episode in dataset.episodes]))
    seconds = time.monotonic() - started
    nothing = "" if missing else f"{data} holds {len(dataset.episodes)} episodes already ({_sources(dataset)})."
    return Collected(len(missing), steps, len(dataset.episodes), dataset.num_frames, mean_return, seconds, nothing)


def check_folder(settings: CollectSettings, data: Path, preprocessing: str) -> set[int]:
    """The numbers of the episodes that the folder holds.

    Raises:
        VmcError: they are of another environment or with other limits; a damaged shard.
    """
    present = present_indices(data)
    if present:
        dataset = RolloutDataset(data)
        check_env_matches(dataset, settings.env, [preprocessing])
        _check_limits_match(dataset, settings)
        _tell_other_seeds(dataset, settings.seed)
    return present


def _sources(dataset: RolloutDataset) -> str:
    """`14 by brownian, seed 0`: who drove, and the seeds."""
    sources = (dataset.sources[episode.path] for episode in dataset.episodes)
    counts = Counter((source.policy["name"], source.seed) for source in sources)
    return "; ".join(f"{number} by {policy}, seed {seed}" for (policy, seed), number in counts.items())


def _tell_other_seeds(dataset: RolloutDataset, seed: int) -> None:
    """Says that episodes were recorded with another seed: they may be another run's, or meant so."""
    others = {path: source.seed for path, source in dataset.sources.items() if source.seed != seed}
    if others:
        seeds = ", ".join(map(str, sorted(set(others.values()))))
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        told = f"{min(others)}{more} hold episodes of seed {seeds}, not {seed}. They are used as they are."
        print(told, file=sys.stderr, flush=True)


def _check_limits_match(dataset: RolloutDataset, settings: CollectSettings) -> None:
    for path, source in dataset.sources.items():
        noise = source.policy.get("action_noise", settings.action_noise)
        # Other policies and other noise may have other limits.
        if (source.policy["name"], noise) != (settings.policy, settings.action_noise):
            continue
        for name in ("max_steps", "no_reward_limit"):
            was, now = source.policy.get(name), getattr(settings, name)
            if was != now:
                raise VmcError(
                    f"{path} holds episodes with {changed(name, was, now, 'there is no limit')}.",
                    f"Give the same --{name.replace('_', '-')} (or --preset), or another folder with --data.",
                )


class _Shard(NamedTuple):
    """Recorded episodes as they are written, and what is told of them."""

    content: bytes
    num_steps: int
    mean_return: float


class _CollectWorker:
    """Keeps an environment and policies that take turns; its jobs are lists of episode numbers, a shard each.

    Args:
        drivers: make the policies; none where the policy needs no models.
        description: of the policies, for the shards.
    """

    def __init__(
        self, settings: CollectSettings, drivers: Sequence[Callable[[], Policy]], description: dict[str, object]
    ) -> None:
        self._settings = settings
        self._env = make_env(settings.env)
        actions = action_map_of(settings.env, self._env)
        self._policies = [make() for make in drivers] or [POLICIES[settings.policy](actions)]
        preprocessing = preprocessing_of(self._env)
        self._source = Source(settings.env, preprocessing, actions.to_json(), description, settings.seed)

    def run(self, indices: list[int]) -> _Shard:
        episodes = [self._record(index) for index in indices]
        returns = [float(episode.rewards.sum()) for episode in episodes]
        num_steps = sum(len(episode.rewards) for episode in episodes)
        return _Shard(encode_shard(episodes, self._source), num_steps, float(np.mean(returns)))

    def close(self) -> None:
        self._env.close()

    def _record(self, index: int) -> Episode:
        settings = self._settings
        trajectory = Trajectory()
        outcome = run_episode(
            self._env,
            self._policies[index % len(self._policies)],
            env_seed(settings.seed, "rollouts", index),
            stream(settings.seed, f"policy/{settings.policy}", index),
            Limits(settings.max_steps, settings.no_reward_limit),
            trajectory,
        )
        return Episode(
            index,
            outcome.env_seed,
            np.stack(trajectory.frames),
            np.stack(trajectory.actions),
            np.array(trajectory.rewards),
            outcome.terminated,
            outcome.truncated,
        )


def _drivers(settings: CollectSettings, run: Path | None) -> tuple[list[Callable[[], Policy]], dict[str, object]]:
    """What makes the policies that take turns by the episode's number, and their description.

    The best C drives, then the mean of the search where it stands, then one of its candidates: where a search has
    found a return in the dream that the real environment does not give, M has to see it. The candidates are noise
    enough.
    """
    limits = {"max_steps": settings.max_steps, "no_reward_limit": settings.no_reward_limit}
    description: dict[str, object] = {"name": settings.policy, **limits}
    if settings.policy in POLICIES:
        return [], description
    if run is None:
        raise VmcError("The policy `controller` needs a run.", "Give --run.")
    body = load_body(run, settings.env)
    controllers = [load_controller(run, body.vae, body.dynamics, name) for name in ("best", "latest")]
    sources = [body.source | {"controller": controller.sha256} for controller in controllers]
    drivers: list[Callable[[], Policy]] = [
        partial(make_agent, body, controller, settings.action_noise) for controller in controllers
    ]
    step_size = step_size_of(run)
    if settings.action_noise and step_size is not None:
        drivers.append(partial(CandidatePolicy, body, controllers[-1], step_size))
    return drivers, description | {"action_noise": settings.action_noise, "controllers": sources}
