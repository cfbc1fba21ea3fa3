"""What executors with workers of their own have in common: who gets which job, failures, and jobs that hang."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vmc.executors.contract import Done, ExecutorSettings, Failed, Worker, Workers, executor_settings, report_failure

# Seconds for which a worker without a job is taken to live.
_FRESH = 5.0
# The system's own limit is 24 days.
_LONGEST_WAIT = 86400.0


class PoolWorker(Protocol):
    """The driver's end of a worker, which has at most one job.

    Attributes:
        is_ready: it can take a job.
        position: that of its job; None without one.
        started: when it was sent, by `time.monotonic`.
    """

    is_ready: bool
    position: int | None
    started: float

    @property
    def name(self) -> str:
        """Names it in messages."""
        ...

    def finish(self) -> Done | Failed:
        """Takes the outcome of its job, which it has."""
        ...

    def kill(self) -> None:
        """Ends it, whatever it does."""
        ...


@dataclass
class Statistics:
    """What an executor has done so far.

    Attributes:
        jobs: finished.
        retried: jobs that had to be run again.
        seconds: in which there were jobs.
        waited: those of them in which the driver had nothing to do but wait for workers.
    """

    jobs: int = 0
    retried: int = 0
    seconds: float = 0.0
    waited: float = 0.0


class Pool(ABC):
    """An `Executor` whose workers start at the first `map`, are kept between calls, and are replaced when they die.

    Args:
        make_worker: makes a `Worker`, on its side.
        workers: their number, or all settings.
    """

    def __init__(self, make_worker: Callable[[], Worker[Any, Any]], workers: Workers) -> None:
        self.settings: ExecutorSettings = executor_settings(workers)
        self.statistics = Statistics()
        self._make_worker = make_worker
        self._workers: list[Any] = []
        self._busy: dict[Any, None] = {}  # a set in the order in which they got their jobs

    def map(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        waiting = deque(range(len(jobs)))
        failures = [0] * len(jobs)
        try:
            self._check_idle(_FRESH)
            yield from self._drain(jobs, waiting, failures)
        except BaseException:
            # A worker may still run a job whose result is no longer needed.
            self.close()
            raise

    def _drain(self, jobs: Sequence[Any], waiting: deque[int], failures: list[int]) -> Iterator[tuple[int, Any]]:
        statistics, done, began = self.statistics, 0, time.monotonic()
        while done < len(jobs):
            self._start_missing(len(jobs) - done)
            for worker in self._idle(len(waiting)):
                self._assign(worker, waiting.popleft(), jobs)
            for worker, is_late in self._wait():
                del self._busy[worker]
                position = worker.position
                outcome = _took_too_long(worker.started) if is_late else worker.finish()
                worker.position = None
                if isinstance(outcome, Done):
                    if waiting:  # at once: others may be waiting to be heard
                        self._assign(worker, waiting.popleft(), jobs)
                    done += 1
                    statistics.jobs += 1
                    statistics.seconds, began = statistics.seconds + time.monotonic() - began, time.monotonic()
                    yield position, outcome.result
                    continue
                if outcome.error is not None:
                    raise outcome.error
                failures[position] += 1
                name = worker.name
                self._dismiss(worker)
                if outcome.worker_died:
                    self._check_idle(0.0)
                report_failure(failures[position], name, outcome.trace)
                statistics.retried += 1
                waiting.appendleft(position)

    def close(self) -> None:
        while self._workers:
            self._dismiss(self._workers[-1])

    def _assign(self, worker: PoolWorker, position: int, jobs: Sequence[Any]) -> None:
        worker.position, worker.started = position, time.monotonic()
        self._busy[worker] = None
        self._send(worker, jobs[position])

    def _start_missing(self, jobs: int) -> None:
        """Starts workers where some are missing, but no more than there are jobs."""
        while len(self._workers) < min(self._wanted(), jobs):
            self._workers.append(self._start_worker())

    def _idle(self, jobs: int) -> list[Any]:
        """Workers for so many jobs."""
        most = self._wanted()
        if not jobs or len(self._busy) >= min(most, len(self._workers)):
            return []
        ready = [worker for worker in self._workers if worker.is_ready and worker.position is None]
        return ready[: min(jobs, most - len(self._busy))]

    def _dismiss(self, worker: PoolWorker) -> None:
        self._workers.remove(worker)
        self._busy.pop(worker, None)
        worker.kill()

    def _wait(self) -> list[tuple[Any, bool]]:
        """Waits for workers that have an outcome, or whose job has taken too long (True)."""
        began, limit, seconds = time.monotonic(), self.settings.seconds, None
        if limit is not None and self._busy:
            seconds = min(max(0.0, next(iter(self._busy)).started + limit - began), _LONGEST_WAIT)
        found = [(worker, False) for worker in self._wait_for(seconds)]
        now = time.monotonic()
        self.statistics.waited += now - began
        for worker in self._busy:
            if limit is None or worker.started > now - limit:
                break
            if (worker, False) not in found:
                found.append((worker, True))
        return found

    def _check_idle(self, seconds: float) -> None:  # noqa: B027
        """Replaces idle workers that have died unseen, if they had no job for so many seconds."""

    @staticmethod
    @abstractmethod
    def most_workers(settings: ExecutorSettings) -> int:
        """How many workers `max` are, now."""

    @abstractmethod
    def _wanted(self) -> int:
        """How many workers there should be now."""

    @abstractmethod
    def _start_worker(self) -> PoolWorker: ...

    @abstractmethod
    def _send(self, worker: Any, job: Any) -> None: ...

    @abstractmethod
    def _wait_for(self, seconds: float | None) -> list[Any]:
        """Waits until one of the busy workers has an outcome, or for so many seconds; returns those that have one."""


def _took_too_long(started: float) -> Failed:
    """The outcome of a job that is ended, by when it was sent."""
    return Failed(f"The job was ended after {time.monotonic() - started:.0f} s (--job-timeout).")
