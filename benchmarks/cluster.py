"""Measures Ray against local processes, what a job costs the driver, and how many workers one driver can feed.

python benchmarks/cluster.py

It writes `results/cluster.json`. All of it is on this machine: Ray's processes, the workers and the driver share its
cores. The paper's projection for a thousand workers is the cost of a job; a simulation with a
thousand workers that sleep as long as an episode takes, in a few processes, has to agree with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pickle
import shutil
import statistics
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vmc.config import make_settings
from vmc.control.real_fitness import EpisodeJob, EpisodeWorker
from vmc.envs import CARRACING, check_env
from vmc.episode import EpisodeResult, Limits
from vmc.executors import ExecutorSettings, Workers, available_cores, make_executor, processor
from vmc.executors.contract import Done
from vmc.executors.ray import RayExecutor, _Actor, _start_actor
from vmc.models.agent import load_body
from vmc.models.checkpoints import load_controller
from vmc.stages.collect import collect
from vmc.stages.settings import CollectSettings
from vmc.storage.checkpoint import versions
from vmc.storage.files import write_json
from vmc.storage.rollouts import RolloutDataset

ROOT = Path(__file__).resolve().parents[1]
RUN = ROOT / "results" / "carracing"
# An episode of CarRacing by a good driver, on one core.
EPISODE_SECONDS = 0.5
TARGET = 1000


class Sleeping:
    """Takes as long as an episode, and gives what an episode gives."""

    def run(self, job: EpisodeJob) -> EpisodeResult:
        time.sleep(_seconds(job))
        return _result(job)

    def close(self) -> None: ...


def _seconds(job: EpisodeJob) -> float:
    """The length of a job that sleeps: its limit in milliseconds, half of it or half as much again."""
    return (job.limits.max_steps or 0) / 1000 * np.random.default_rng(job.env_seed).uniform(0.5, 1.5)


def _result(job: EpisodeJob) -> EpisodeResult:
    return EpisodeResult(job.env_seed, 900.0, 800, True, False)


def _sleeps(number: int, seconds: float) -> list[EpisodeJob]:
    return [EpisodeJob(np.zeros(867), seed, Limits(round(1000 * seconds))) for seed in range(number)]


def search(workers: Workers, episodes: int) -> float:
    """Episodes/s of candidates in the real environment."""
    body = load_body(RUN, CARRACING)
    controller = load_controller(RUN, body.vae, body.dynamics)
    jobs = [EpisodeJob(controller.parameters, seed, Limits(500)) for seed in range(episodes)]
    with closing(make_executor(partial(EpisodeWorker, body, CARRACING, controller.settings), workers)) as executor:
        list(executor.map(jobs[:4]))  # starts the workers
        started = time.perf_counter()
        list(executor.map(jobs))
        return episodes / (time.perf_counter() - started)


def rollouts(workers: Workers, episodes: int) -> tuple[float, float]:
    """Episodes/s of `vmc rollouts`, from the first to the last shard on the disk, and bytes of an episode there."""
    settings = make_settings(CollectSettings, CARRACING, {"episodes": episodes, "max_steps": 500})
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        collect(make_settings(CollectSettings, CARRACING, {"episodes": 8, "max_steps": 500}), data, None, workers)
        shutil.rmtree(data)
        collect(settings, data, None, workers)
        paths = sorted(data.glob("*.h5"), key=lambda path: path.stat().st_mtime_ns)
        first, last = (path.stat().st_mtime_ns / 1e9 for path in (paths[0], paths[-1]))
        size = sum(path.stat().st_size for path in paths)
        lengths = [episode.length for episode in RolloutDataset(data).episodes]
        assert lengths == [500] * episodes
        return (episodes - 4) / (last - first), size / episodes


def pairs(rounds: int, ray: ExecutorSettings) -> list[dict[str, Any]]:
    """Local processes and Ray by turns, two workers each."""
    rows = []
    for name, measure in (
        ("search in the real environment", partial(search, episodes=96)),
        ("rollouts", lambda workers: rollouts(workers, 144)[0]),
    ):
        rates: dict[str, list[float]] = {"processes": [], "ray": []}
        for _ in range(rounds):
            rates["processes"].append(measure(2))
            rates["ray"].append(measure(ray))
        ratios = [a / b for a, b in zip(rates["ray"], rates["processes"], strict=True)]
        medians = {f"{where}_rate": statistics.median(values) for where, values in rates.items()}
        rows.append({"what": name, **medians, "ratio": statistics.median(ratios), "ratios": ratios})
    return rows


def _timed(executor: Any, jobs: list[EpisodeJob]) -> tuple[float, float, float]:
    """Seconds of the wall clock, and of a processor: of this thread, and of this process (Ray has threads here)."""
    wall, thread, process = time.perf_counter(), time.thread_time(), time.process_time()
    list(executor.map(jobs))
    return time.perf_counter() - wall, time.thread_time() - thread, time.process_time() - process


def cost_of_a_job(ray: ExecutorSettings, jobs: int = 1000) -> dict[str, float]:
    """What jobs that do nothing cost: seconds of the driver, processor's and wall clock's, and bytes both ways."""
    given = _sleeps(jobs, 0.0)
    with closing(make_executor(Sleeping, ray)) as executor:
        list(executor.map(given[:10]))
        wall, thread, process = _timed(executor, given)
    return {
        "jobs": jobs,
        "driver_loop_ms": 1000 * thread / jobs,
        "driver_process_ms": 1000 * process / jobs,
        "wall_clock_ms": 1000 * wall / jobs,
        "bytes_to_worker": len(pickle.dumps(given[0])),
        "bytes_from_worker": len(pickle.dumps(_result(given[0]))),
    }


class _Many:
    """An actor that serves many handles at once: workers that sleep need few processes."""

    async def describe(self) -> tuple[str, dict[str, str]]:
        return "simulated", {}

    async def prepare(self, key: bytes, make_worker: list[Any]) -> None: ...

    async def run(self, what: tuple[bytes, EpisodeJob]) -> Done:
        job = what[1]
        await asyncio.sleep(_seconds(job))
        return Done(_result(job))

    async def forget(self, key: bytes) -> None: ...


class _Handle(_Actor):
    """One of the handles on an actor; to the driver, a worker like any other."""

    def kill(self) -> None: ...


class _Simulated(RayExecutor):
    """Its workers share a few processes."""

    def __init__(self, number: int, actors: list[Any]) -> None:
        super().__init__(Sleeping, ExecutorSettings(number, "ray"))
        self._workers, self._actors = [], actors

    def _start_worker(self) -> _Handle:
        return _Handle(self._actors[len(self._workers) % len(self._actors)])


def simulate(workers: int, seconds: float, turns: int, actors: list[Any]) -> dict[str, float]:
    """Workers that sleep: the share of their time in which they have a job, and the driver's."""
    given = _sleeps(workers * turns, seconds)
    with closing(_Simulated(workers, actors)) as executor:
        while sum(worker.is_ready for worker in executor._workers) < workers:
            list(executor.map(given[:workers]))
        wall, thread, process = _timed(executor, given)
    return {
        "workers": workers,
        "seconds_a_job": seconds,
        "jobs_per_second": len(given) / wall,
        "busy": len(given) * seconds / (wall * workers),
        "driver_loop_ms": 1000 * thread / len(given),
        "driver_loop_share": thread / wall,
        "driver_process_cores": process / wall,
    }


def costs(ray: ExecutorSettings, simulated: int) -> dict[str, Any]:
    """What a job costs, a simulation, and what follows for many workers."""
    job = cost_of_a_job(ray)
    actors = [_start_actor(ray, _Many, num_cpus=0, max_concurrency=simulated) for _ in range(8)]
    found = [
        simulate(simulated // 4, EPISODE_SECONDS, 40, actors),
        simulate(simulated, 2 * EPISODE_SECONDS, 20, actors),
        simulate(simulated, EPISODE_SECONDS, 30, actors),
    ]
    # With many workers, a look at all of them is a part of the cost.
    loop = found[-1]["driver_loop_ms"] / 1000
    projection = {
        "workers_one_driver_feeds": round(EPISODE_SECONDS / loop),
        "driver_loop_share_at_1000": TARGET / EPISODE_SECONDS * loop,
        "megabytes_per_second_at_1000": TARGET / EPISODE_SECONDS * job["bytes_to_worker"] / 1e6,
    }
    return {"job": job, "simulation": found, "projection": projection}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="of the pairs; 0 leaves those of before")
    parser.add_argument("--simulated", type=int, default=TARGET, help="workers that sleep")
    options = parser.parse_args()
    check_env(CARRACING)
    ray, path = ExecutorSettings(2, "ray"), ROOT / "results" / "cluster.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if options.rounds:
        content = {"pairs": pairs(options.rounds, ray), "bytes_of_an_episode": rollouts(2, 16)[1]}
    content |= costs(ray, options.simulated)
    content |= {"machine": {"processor": processor(), "cores": available_cores()}, "versions": versions()}
    content["command"] = "python benchmarks/cluster.py"
    write_json(path, content)
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
