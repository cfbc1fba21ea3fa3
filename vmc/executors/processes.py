"""Jobs in worker processes, which are spawned, single-threaded, kept between calls, and replaced when they die.

Each worker has its own pipe and at most one job. A thread of the parent's writes jobs into the pipe and reads results
from it, so that a worker that is stopped in the middle of either holds up nobody. The death of a worker closes its pipe
and so wakes the thread at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from queue import Empty, SimpleQueue
from typing import Any

from vmc.errors import VmcError
from vmc.executors.contract import (
    Done,
    ExecutorSettings,
    Failed,
    JobRunner,
    Worker,
    Workers,
    available_cores,
    num_workers,
)
from vmc.executors.pool import Pool

# The libraries read these variables at their first import, so the worker must have them when it starts.
# N workers with N threads each compete for the cores, which is the most common cause of slow runs.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "SDL_VIDEODRIVER": "dummy",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}


# For a thread to see that its worker has been killed.
_NOTICE_SECONDS = 5.0
# The exit status of a worker that would have run the script that started it once more, from its first line.
_NO_GUARD = 78


class ProcessExecutor(Pool):
    """A `Pool` of spawned processes on this machine."""

    def __init__(self, make_worker: Callable[[], Worker[Any, Any]], workers: Workers) -> None:
        super().__init__(make_worker, workers)
        self._pickled: bytes | None = None
        self._heard: SimpleQueue[_Process] = SimpleQueue()

    @staticmethod
    def most_workers(settings: ExecutorSettings) -> int:
        return available_cores()

    @property
    def pids(self) -> list[int]:
        """The process ids of the current workers."""
        return [worker.pid for worker in self._workers]

    def _wanted(self) -> int:
        return num_workers(self.settings)

    def _start_worker(self) -> _Process:
        # A spawned process imports the script that spawned it. This is what multiprocessing itself asks, and then
        # raises an error of thirty lines in each worker.
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            os._exit(_NO_GUARD)
        if self._pickled is None:
            self._pickled = bytes(ForkingPickler.dumps(self._make_worker))
        return _Process(self._pickled, self._heard)

    def _send(self, worker: _Process, job: Any) -> None:
        worker.send(job)

    def _wait_for(self, seconds: float | None) -> list[_Process]:
        found = []
        with suppress(Empty):
            found.append(self._heard.get(timeout=seconds))
            while True:
                found.append(self._heard.get_nowait())
        return [worker for worker in found if worker in self._busy]  # others have been killed


class _Process:
    """The parent's end of one worker process.

    Args:
        make_worker: pickled. It is sent with the first job, not with the start: models are larger than a pipe, so that
            the parent would wait for one process after another to import its modules.
        heard: gets this object when there is an outcome: a result, or the worker's death.
    """

    is_ready = True  # a job waits in the pipe until the process has started

    def __init__(self, make_worker: bytes, heard: SimpleQueue[_Process]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        with _environment(WORKER_ENVIRONMENT), _interrupts_blocked():
            self.process.start()
        theirs.close()
        self._make_worker: bytes | None = make_worker
        self._heard = heard
        self._jobs: SimpleQueue[bytes | None] = SimpleQueue()
        self._result: bytes | None = None
        self._thread = threading.Thread(target=self._talk, name="worker's pipe", daemon=True)
        self._thread.start()
        self.position: int | None = None
        self.started = 0.0

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    @property
    def name(self) -> str:
        return f"worker {self.pid}"

    def send(self, job: Any) -> None:
        self._jobs.put(bytes(ForkingPickler.dumps((self._make_worker, job))))
        self._make_worker = None

    def finish(self) -> Done | Failed:
        if self._result is not None:
            return ForkingPickler.loads(self._result)  # type: ignore[no-any-return]
        self.process.join(timeout=5)
        code = self.process.exitcode
        if code == _NO_GUARD:
            return Failed("", _no_guard())
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        return Failed(f"The process died ({how}) in the middle of a job.")

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it has ended, or has no group of its own yet
            os.killpg(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.process.close()
        self._jobs.put(None)
        self._thread.join(_NOTICE_SECONDS)
        if not self._thread.is_alive():  # else something that the worker has started holds the pipe
            self._connection.close()

    def _talk(self) -> None:
        """Passes jobs on and takes results, until the worker is dismissed."""
        while (job := self._jobs.get()) is not None:
            try:
                self._result = None
                self._connection.send_bytes(job)
                self._result = self._connection.recv_bytes()
            except (EOFError, OSError):  # OSError: the worker died while a message was on its way
                pass
            self._heard.put(self)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process that is started meanwhile does not see Ctrl-C while it imports its modules; this one sees it after."""
    resource_tracker.ensure_running()  # it would end the block when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _no_guard() -> VmcError:
    return VmcError(
        'The script has no line `if __name__ == "__main__":`, so each worker process ran it again.',
        "Put what the script does below such a line, or give workers=0.",
    )


def _serve(connection: Connection) -> None:
    """The main function of a worker process: makes the worker at the first job, and runs jobs until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; only the parent handles it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    # What an environment starts is in this group, and ends with it.
    os.setpgid(0, 0)
    # An environment may start processes; multiprocessing forbids that to daemons.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    threading.Thread(target=_die_with_parent, daemon=True).start()
    runner: JobRunner | None = None
    while True:
        try:
            make_worker, job = connection.recv()
        except EOFError:
            return
        runner = runner or JobRunner(partial(_make, make_worker))
        outcome = runner.run(job)
        with suppress(BrokenPipeError):
            connection.send(outcome)


def _make(pickled: bytes) -> Worker[Any, Any]:
    return ForkingPickler.loads(pickled)()  # type: ignore[no-any-return]


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


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
