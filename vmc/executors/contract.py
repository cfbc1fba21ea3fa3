"""The contract of an executor, and the function that makes one."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vmc.errors import VmcError

Job_contra = TypeVar("Job_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class ExecutorSettings:
    """Where jobs run.

    Attributes:
        workers: worker processes; 0 works in this process.
        job_timeout: seconds that a job may take; a worker that takes longer is ended, and its job has failed once. A
            worker's first job includes its start. None waits for ever.

    Raises:
        VmcError: a timeout without worker processes.
    """

    workers: int
    job_timeout: float | None = None

    def __post_init__(self) -> None:
        if self.job_timeout is not None and not self.workers:
            raise VmcError("A job in the main process cannot be ended after a time.", "Give --workers 1 or more.")

    def given(self) -> dict[str, float]:
        """What is set, by the names of the options."""
        values = {"workers": self.workers, "job-timeout": self.job_timeout}
        return {name: value for name, value in values.items() if value is not None}


# The number of worker processes says enough where nothing else is set.
Workers = int | ExecutorSettings


class Worker(Protocol[Job_contra, Result_co]):
    """Keeps objects that are slow to make (an environment, models) and runs one job at a time.

    A result must depend on the job alone, because another worker may run the job again after a failure.
    """

    def run(self, job: Job_contra) -> Result_co: ...

    def close(self) -> None: ...


class Executor(Protocol[Job_contra, Result_co]):
    """Runs jobs on workers.

    If a job raises, a new worker runs it again. An executor never invents a result.
    """

    def map(self, jobs: Sequence[Job_contra]) -> Iterator[tuple[int, Result_co]]:
        """Yields (position in `jobs`, result) as the jobs finish, in any order.

        Raises:
            VmcError: a worker raised it (bad input is not tried again), or a job failed `MAX_ATTEMPTS` times.
        """
        ...

    def close(self) -> None: ...


def executor_settings(workers: Workers) -> ExecutorSettings:
    """The settings that a plain number stands for, or those given."""
    return workers if isinstance(workers, ExecutorSettings) else ExecutorSettings(workers)


def make_executor(make_worker: Callable[[], Worker[Any, Any]], workers: Workers) -> Executor[Any, Any]:
    """Makes an executor with worker processes, or in this process for 0. `make_worker` must be picklable."""
    from vmc.executors.processes import ProcessExecutor
    from vmc.executors.serial import SerialExecutor

    settings = executor_settings(workers)
    if not settings.workers:
        return SerialExecutor(make_worker)
    return ProcessExecutor(make_worker, settings.workers, settings.job_timeout)


def available_cores() -> int:
    """The number of cores that this process may use. The machine can have more."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The name of the machine's processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def report_failure(failures: int, where: str, trace: str) -> None:
    """Prints the traceback of a failed job; raises a `VmcError` at the `MAX_ATTEMPTS`-th failure."""
    if failures >= MAX_ATTEMPTS:
        raise VmcError(
            f"A job failed {failures} times, last in {where}:\n{trace.rstrip()}",
            "No finished work is lost: fix the cause and run the same command again.",
        )
    print(f"{where} failed; its job is run again on a new worker.\n{trace}", file=sys.stderr, flush=True)
