"""What executors with workers of their own have in common: who gets which job, failures, and jobs that hang."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vmc.executors.contract import Done, ExecutorSettings, Failed, Worker, Workers, executor_settings, report_failure


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
        """Takes the outcome of its job."""
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

    def map(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        waiting = deque(range(len(jobs)))
        failures = [0] * len(jobs)
        try:
            yield from self._drain(jobs, waiting, failures)
        except BaseException:
            # A worker may still run a job whose result is no longer needed.
            self.close()
            raise

    def _drain(self, jobs: Sequence[Any], waiting: deque[int], failures: list[int]) -> Iterator[tuple[int, Any]]:
        statistics, done, began = self.statistics, 0, time.monotonic()
        while done < len(jobs):
            self._hire(len(jobs) - done)
            for worker in self._workers[: self._wanted()]:
                if worker.is_ready and worker.position is None and waiting:
                    worker.position, worker.started = waiting[0], time.monotonic()
                    self._send(worker, jobs[waiting.popleft()])
            for worker in self._wait():
                position, outcome = worker.position, worker.finish()
                worker.position = None
                if isinstance(outcome, Done):
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
                report_failure(failures[position], name, outcome.trace)
                statistics.retried += 1
                waiting.appendleft(position)

    def close(self) -> None:
        while self._workers:
            self._dismiss(self._workers[-1])

    def _hire(self, jobs: int) -> None:
        """Starts workers where some are missing, but no more than there are jobs."""
        while len(self._workers) < min(self._wanted(), jobs):
            self._workers.append(self._start_worker())

    def _dismiss(self, worker: PoolWorker) -> None:
        self._workers.remove(worker)
        worker.kill()

    def _wait(self) -> list[Any]:
        """Waits for workers that have an outcome, or whose job has taken too long."""
        busy = [worker for worker in self._workers if worker.position is not None]
        limit, seconds = self.settings.seconds, None
        if limit is not None and busy:
            seconds = max(0.0, min(worker.started for worker in busy) + limit - time.monotonic())
        began = time.monotonic()
        ended = self._wait_for(busy, seconds)
        now = time.monotonic()
        self.statistics.waited += now - began
        late = float("-inf") if limit is None else now - limit
        return [worker for worker in busy if worker in ended or worker.started <= late]

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
    def _wait_for(self, busy: list[Any], seconds: float | None) -> Any:
        """Waits until one of the busy workers has an outcome, or for so many seconds; returns those that have one."""


def took_too_long(started: float) -> Failed:
    """The outcome of a job that is ended, by when it was sent."""
    return Failed(f"The job was ended after {time.monotonic() - started:.0f} s (--job-timeout).")
