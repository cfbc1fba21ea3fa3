"""Workers for the tests of executors. They have their own module because spawned processes must import them.

Pytest puts this folder on `sys.path`, and `multiprocessing` passes `sys.path` to the processes that it spawns.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from vmc.errors import VmcError


class TenfoldWorker:
    """Returns ten times the job."""

    def run(self, job: int) -> int:
        return 10 * job

    def close(self) -> None: ...


class UnevenWorker(TenfoldWorker):
    """A `TenfoldWorker` that is slower at even jobs, so that results come out of order."""

    def run(self, job: int) -> int:
        time.sleep(0.02 * (job % 2 == 0))
        return super().run(job)


class LengthWorker(TenfoldWorker):
    """Returns the length of its job."""

    def run(self, job: Any) -> int:
        return len(job)


class InspectingWorker(TenfoldWorker):
    """Returns the value of an environment variable of its process, its id, or whether a module is loaded there."""

    def run(self, job: Any) -> Any:
        kind, name = job
        if kind == "pid":
            return os.getpid()
        return os.environ.get(name) if kind == "variable" else name in sys.modules


class FailingWorker(TenfoldWorker):
    """Fails at the first `times` attempts at job 2, in the way `how`; files in `memory` count the attempts per job."""

    def __init__(self, memory: Path, how: str, times: int) -> None:
        self._memory = memory
        self._how = how
        self._times = times
        with (memory / "made").open("a") as file:
            file.write(f"{os.getpid()}\n")

    def run(self, job: int) -> int:
        with (self._memory / f"attempts-{job}").open("a+") as file:
            file.write(f"{os.getpid()}\n")
            file.seek(0)
            attempts = len(file.readlines())
        if job == 2 and attempts <= self._times:
            _fail(self._how)
        return super().run(job)

    def close(self) -> None:
        (self._memory / "closed").touch()


class UnmakeableWorker(TenfoldWorker):
    """Raises a `VmcError` in its constructor."""

    def __init__(self) -> None:
        raise VmcError("There is no model.", "Train one.")


class SleepingWorker(TenfoldWorker):
    """Writes its process id to the folder that is its job, then sleeps."""

    def run(self, job: Any) -> int:
        (Path(job) / f"pid-{os.getpid()}").touch()
        time.sleep(600)
        return 0


class WaitingWorker(TenfoldWorker):
    """Says that it has begun, and by which parent, in a file beside its job; waits for another one to go on."""

    def run(self, job: Any) -> Any:
        job.with_name(f"{job.name}-begun").write_text(str(os.getppid()))
        while not job.with_name(f"{job.name}-go").exists():
            time.sleep(0.05)
        return job.name


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Waits for a condition; returns whether it came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _fail(how: str) -> None:
    if how == "raise":
        raise RuntimeError("the engine is on fire")
    if how == "refuse":
        raise VmcError("The model is of another environment.", "Train it again.")
    if how == "exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hang":
        time.sleep(1000)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if how in ("die while sending", "stop while sending"):
        then = (lambda: os._exit(1)) if how.startswith("die") else (lambda: os.kill(os.getpid(), signal.SIGSTOP))
        Connection._send = _sends_half(then)  # type: ignore[attr-defined]


def _sends_half(then: Callable[[], object]) -> Callable[[Connection, bytes], None]:
    def send(connection: Connection, data: bytes) -> None:
        os.write(connection.fileno(), data[: len(data) // 2])
        then()

    return send
