"""Stage `test`: a trained C on episodes that nothing was trained on, in the real environment or in the dream."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vmc.config import pick
from vmc.control.real_fitness import EpisodeJob, EpisodeWorker
from vmc.dream.settings import DreamSettings
from vmc.envs import action_map_of, check_env, make_env
from vmc.episode import EpisodeResult, Limits, run_episode
from vmc.errors import VmcError
from vmc.executors import Worker, Workers, make_executor
from vmc.models.agent import Body, load_body
from vmc.models.checkpoints import StoredController, controller_folder, load_controller, stored_values
from vmc.policies import POLICIES
from vmc.progress import Progress
from vmc.seeding import env_seed, stream
from vmc.stages.dreaming import DreamSource, dream_fitness
from vmc.stages.results import CONTROLLER, Kept, keep, keep_table, write_result
from vmc.stages.seed_uses import count_use
from vmc.stages.settings import EvaluateSettings
from vmc.storage.checkpoint import versions
from vmc.storage.files import (
    CannotWriteError,
    check_replaceable,
)
from vmc.storage.journal import Journal, read_journal

Row = dict[str, Any]
_ROW = {"seed": int, "episode_return": float, "episode_length": int}
_REMOVE = "Remove it; its episodes are run again."


class Evaluation(NamedTuple):
    """A test's result, in the format of `test.json`, and where it was kept."""

    result: dict[str, Any]
    kept: Kept


def evaluate_controller(
    settings: EvaluateSettings, data: Path, run: Path, device_name: str, workers: Workers, path: Path | None = None
) -> dict[str, Any]:
    """As `evaluate_and_keep`; returns the result alone."""
    return evaluate_and_keep(settings, data, run, device_name, workers, path).result


def evaluate_and_keep(
    settings: EvaluateSettings, data: Path, run: Path, device_name: str, workers: Workers, path: Path | None = None
) -> Evaluation:
    """Scores the run's best C, or a policy that needs no run, and writes `test.json` (`test-dream.json` for a dream).

    A better result of the same C is not replaced: see `vmc.stages.results`.

    Args:
        path: the file to write to instead.

    Returns:
        The result: every episode's seed, return and length; mean, std, ci95, min, max; `seed_uses`, how many Cs of
        this run have met these real episodes, this one included; and where it is kept.

    Raises:
        VmcError: V, M or C missing or corrupt, or they do not belong together; a policy without models is to dream;
            `path` cannot be written, or holds something else than a result.
    """
    if path is not None:
        check_replaceable(path, {"env", "episodes", "mean"})
    result, own_dream = _evaluate(settings, data, run, device_name, workers)
    if path is None:
        return Evaluation(result, keep(result, run, own_dream))
    write_result(path, result)
    return Evaluation(result, Kept(path))


def _evaluate(
    settings: EvaluateSettings, data: Path, run: Path, device_name: str, workers: Workers
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result, and the dream that C was evolved in (empty without a C)."""
    if not settings.dream:
        check_env(settings.env, settings.max_steps)
    started = time.monotonic()  # what is compiled at the first start does not count
    seeds = [env_seed(settings.seed, "test", episode) for episode in range(settings.episodes)]
    body = controller = None
    if settings.policy == CONTROLLER:
        body = load_body(run, settings.env)
        controller = load_controller(run, body.vae, body.dynamics)
    elif settings.dream:
        raise VmcError(f"The policy {settings.policy} does not dream.", "Leave out --dream, or --policy.")
    dream, seed_uses = None, None
    if controller is not None and settings.dream:
        if controller.planning is not None:
            raise VmcError(f"C in {run} is a planner, which acts in the real environment alone.", "Leave out --dream.")
        dream = dream_settings(settings, controller)
        episodes = _in_the_dream(settings, dream, data, run, device_name, controller, seeds)
    else:
        if controller is not None:
            seed_uses = count_use(run, settings.env, settings.seed, controller.sha256)
        episodes = _in_reality(settings, run, workers, body, controller, seeds)
    result = {
        "env": settings.env,
        "episodes": episodes,
        **summary([episode["episode_return"] for episode in episodes]),
        "dream": settings.dream,
        "temperature": dream.temperature if dream else None,
        "controller": controller.sha256 if controller else None,
        "agent": controller.agent if controller else None,
        "seed_uses": seed_uses,
        "seconds": round(time.monotonic() - started, 3),
        "config": asdict(settings),
        "versions": versions(),
    }
    return result, controller.dream if controller else {}


def evaluate_temperatures(
    settings: EvaluateSettings, temperatures: Sequence[float], data: Path, run: Path, device_name: str, workers: Workers
) -> tuple[list[dict[str, Any]], Kept]:
    """Scores the run's best C in the dream at each temperature, and in the real environment.

    The dreams are kept in `test-temperatures.json` alone; that of the real environment is also a result of its own.

    Returns:
        A result for each temperature, and that of reality as the last; where the table is kept.
    """
    dreams = [replace(settings, dream=True, temperature=temperature) for temperature in temperatures]
    results = [_evaluate(each, data, run, device_name, workers)[0] for each in dreams]
    real = evaluate_and_keep(replace(settings, dream=False), data, run, device_name, workers)
    results.append(real.result)
    shown = ("temperature", "mean", "std", "ci95", "min", "max", "config", "versions", "controller", "agent")
    table = [{name: result[name] for name in shown} for result in results]
    kept = keep_table(table, run)
    notes = " ".join(filter(None, [kept.note, real.kept.note]))
    return results, Kept(kept.path, notes or None)


def dream_settings(settings: Any, controller: StoredController) -> DreamSettings:
    """The dream that was asked for; what was not given is as in the search that found C."""
    own = stored_values(DreamSettings, controller.dream, controller_folder(Path()) / "best.json")
    return DreamSettings(**pick(DreamSettings, settings, own))


# Student's t for a 95% interval, by degrees of freedom from 1 on. With more values the normal one is near enough.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
_NORMAL = 1.96


def summary(returns: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation (of the sample), 95% interval of the mean, min and max of two returns or more.

    The interval is Student's for up to 16 returns, and the normal one for more.
    """
    mean, std, freedom = float(np.mean(returns)), float(np.std(returns, ddof=1)), len(returns) - 1
    half = (_STUDENT[freedom - 1] if freedom <= len(_STUDENT) else _NORMAL) * std / sqrt(len(returns))
    spread = {"std": std, "ci95": [mean - half, mean + half]}
    return {"mean": mean, **spread, "min": float(min(returns)), "max": float(max(returns))}


def _in_reality(
    settings: EvaluateSettings,
    run: Path,
    workers: Workers,
    body: Body | None,
    controller: StoredController | None,
    seeds: list[int],
) -> list[Row]:
    """Runs the episodes that are not yet in the journal of this policy under these limits."""
    limits = Limits(max_steps=settings.max_steps)
    if controller is None:
        path = run / f"test-{settings.policy}-episodes.jsonl"
        journal = _Finished(path, f"{settings.policy} {settings.env} {limits}")
    else:
        journal = _Finished(run / "test-episodes.jsonl", f"{controller.agent} {limits}")
    missing = [seed for seed in seeds if seed not in journal.rows]
    make_worker: Callable[[], Worker[EpisodeJob, EpisodeResult]]
    if body is None or controller is None:
        parameters = np.empty(0)
        make_worker = partial(_PolicyWorker, settings.env, settings.policy)
    else:
        parameters = controller.parameters
        make_worker = partial(EpisodeWorker, body, settings.env, controller.settings, controller.planning)
    jobs = [EpisodeJob(parameters, seed, limits) for seed in missing]
    with (
        closing(make_executor(make_worker, workers)) as executor,
        Progress("test", len(seeds), "episodes", done=len(seeds) - len(missing)) as progress,
    ):
        for _, outcome in executor.map(jobs):
            journal.append(_row(outcome.env_seed, outcome.episode_return, outcome.episode_length))
            progress.advance(1, mean_return=float(np.mean([row["episode_return"] for row in journal.rows.values()])))
    return [journal.rows[seed] for seed in seeds]


class _PolicyWorker:
    """Runs whole episodes by a policy that needs no model."""

    def __init__(self, env: str, policy: str) -> None:
        self._env = make_env(env)
        self._policy = POLICIES[policy](action_map_of(env, self._env))

    def run(self, job: EpisodeJob) -> EpisodeResult:
        return run_episode(self._env, self._policy, job.env_seed, stream(job.env_seed, "agent"), job.limits)

    def close(self) -> None:
        self._env.close()


class _Finished:
    """Finished episodes of a test, a line each, so that a killed test goes on where it was.

    In a folder that cannot be written they are only remembered.

    Args:
        key: what the scores depend on beside the seeds. Its first word is the policy; the episodes of another policy
            are dropped, and those of the same under other limits are kept.

    Raises:
        VmcError: the journal is damaged.
    """

    def __init__(self, path: Path, key: str) -> None:
        policy = key.split(maxsplit=1)[0]
        blocks = {name: rows for name, rows in _read_finished(path).items() if name.startswith(f"{policy} ")}
        self.rows = blocks.pop(key, {})
        kept = [line for name, rows in [*blocks.items(), (key, self.rows)] for line in ({"key": name}, *rows.values())]
        self._journal: Journal | None = None
        with suppress(CannotWriteError):
            self._journal = Journal(path, kept)

    def append(self, row: Row) -> None:
        self.rows[row["seed"]] = row
        if self._journal is not None:
            try:
                self._journal.append(row)
            except CannotWriteError:
                self._journal = None


def _read_finished(path: Path) -> dict[str, dict[int, Row]]:
    """The episodes of each key, by their seeds."""
    blocks: dict[str, dict[int, Row]] = {}
    rows: dict[int, Row] = {}
    for line in read_journal(path, _REMOVE, without=False):
        if type(line.get("key")) is str:
            rows = blocks.setdefault(line["key"], {})
        elif {name: type(value) for name, value in line.items()} == _ROW:
            rows[line["seed"]] = line
        else:
            raise VmcError(f"{path} is damaged: a line is no episode.", _REMOVE)
    return blocks


def _in_the_dream(
    settings: EvaluateSettings,
    dream: DreamSettings,
    data: Path,
    run: Path,
    device_name: str,
    controller: StoredController,
    seeds: list[int],
) -> list[Row]:
    source = DreamSource(settings.env, data, run, controller.settings, settings.seed)
    with dream_fitness(source, dream, device_name, workers=0) as (_, validation):
        scores = validation.evaluate(controller.parameters[None], seeds)
    return [_row(*values) for values in zip(seeds, scores.returns[0], scores.lengths[0], strict=True)]


def _row(seed: int, episode_return: float, episode_length: int) -> Row:
    return {"seed": seed, "episode_return": float(episode_return), "episode_length": int(episode_length)}
