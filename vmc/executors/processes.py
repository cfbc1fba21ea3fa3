"""Jobs in worker processes, which are spawned, single-threaded, kept between calls, and replaced when they die.

Each worker has its own pipe and at most one job. The parent waits on all pipes at once. The death of a worker closes
its pipe and so wakes the parent at once; there is no shared queue that could hang.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from vmc.errors import VmcError
from vmc.executors.contract import Worker, report_failure

# The libraries read these variables at their first import, so the worker must have them when it starts.
# N workers with N threads each compete for the cores, which is the most common cause of slow runs.
_WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "SDL_VIDEODRIVER": "dummy",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}


class ProcessExecutor:
    """An `Executor` with up to `num_workers` spawned processes, which start at the first `map`.

    Args:
        job_timeout: seconds, as in `ExecutorSettings`.
    """

    def __init__(
        self, make_worker: Callable[[], Worker[Any, Any]], num_workers: int, job_timeout: float | None = None
    ) -> None:
        self._make_worker = make_worker
        self._num_workers = num_workers
        self._job_timeout = job_timeout
        self._workers: list[_Process] = []

    def map(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        waiting = deque(range(len(jobs)))
        failures = [0] * len(jobs)
        try:
            while len(self._workers) < min(self._num_workers, len(jobs)):
                self._workers.append(_Process(self._make_worker))
            yield from self._drain(jobs, waiting, failures)
        except BaseException:
            # A worker may still run a job whose result is no longer needed.
            self.close()
            raise

    def _drain(self, jobs: Sequence[Any], waiting: deque[int], failures: list[int]) -> Iterator[tuple[int, Any]]:
        done = 0
        while done < len(jobs):
            for worker in self._workers:
                if worker.position is None and waiting:
                    worker.start(waiting.popleft(), jobs)
            for worker in _ready(self._workers, self._job_timeout):
                position, outcome = worker.finish()
                if isinstance(outcome, _Done):
                    done += 1
                    yield position, outcome.result
                    continue
                if outcome.error is not None:
                    raise outcome.error
                failures[position] += 1
                where = f"worker {worker.pid}"
                worker.kill()
                self._workers[self._workers.index(worker)] = _Process(self._make_worker)
                report_failure(failures[position], where, outcome.trace)
                waiting.appendleft(position)

    @property
    def pids(self) -> list[int]:
        """The process ids of the current workers."""
        return [worker.pid for worker in self._workers]

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()


class _Done:
    """The result of a job, as a worker sends it."""

    def __init__(self, result: Any) -> None:
        self.result = result


class _Failed:
    """The traceback of a failed job, and its error if it was a `VmcError`. The parent makes it if the worker died."""

    def __init__(self, trace: str, error: VmcError | None = None) -> None:
        self.trace = trace
        self.error = error


class _Process:
    """The parent's end of one worker process."""

    def __init__(self, make_worker: Callable[[], Worker[Any, Any]]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, make_worker), daemon=True)
        with _environment(_WORKER_ENVIRONMENT):
            self.process.start()
        theirs.close()
        self.position: int | None = None
        self.started = 0.0

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def start(self, position: int, jobs: Sequence[Any]) -> None:
        self.position, self.started = position, time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):  # the worker died; `finish` reports it
            self.connection.send(jobs[position])

    def finish(self) -> tuple[int, _Done | _Failed]:
        """Returns the position and the outcome of the job; without an answer, the job has taken too long."""
        position = self.position
        assert position is not None
        self.position = None
        if not self.connection.poll():
            return position, _Failed(
                f"The job was ended after {time.monotonic() - self.started:.0f} s (--job-timeout)."
            )
        try:
            return position, self.connection.recv()
        except (EOFError, OSError):  # OSError: the worker died while it sent a message
            self.process.join(timeout=5)
            code = self.process.exitcode
            how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
            return position, _Failed(f"The process died ({how}) in the middle of a job.")

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()
        self.process.close()


def _ready(workers: list[_Process], job_timeout: float | None) -> list[_Process]:
    """Waits for workers that have an answer, or whose job has taken too long."""
    busy = [worker for worker in workers if worker.position is not None]
    seconds = None
    if job_timeout is not None:
        seconds = max(0.0, min(worker.started for worker in busy) + job_timeout - time.monotonic())
    # A worker's death closes its pipe. A closed pipe is ready too, so this returns for results and for deaths.
    ready = wait([worker.connection for worker in busy], seconds)
    late = float("-inf") if job_timeout is None else time.monotonic() - job_timeout
    return [worker for worker in busy if worker.connection in ready or worker.started <= late]


def _serve(connection: Connection, make_worker: Callable[[], Worker[Any, Any]]) -> None:
    """The main function of a worker process: makes the worker at the first job, and runs jobs until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; only the parent handles it
    threading.Thread(target=_die_with_parent, daemon=True).start()
    worker: Worker[Any, Any] | None = None
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        outcome: _Done | _Failed
        try:
            if worker is None:
                worker = make_worker()
            outcome = _Done(worker.run(job))
        except VmcError as error:
            outcome = _Failed(traceback.format_exc(), error)
        except Exception:
            outcome = _Failed(traceback.format_exc())
        with suppress(BrokenPipeError):
            connection.send(outcome)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
