"""The contract of an executor, and the choice of one."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vmc.errors import VmcError

Job_contra = TypeVar("Job_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

MAX_ATTEMPTS = 3


class Worker(Protocol[Job_contra, Result_co]):
    """Keeps what is costly to make (an environment, models) and runs one job at a time.

    A job's result must depend on the job alone: it may be run again, by another worker, after a failure.
    """

    def run(self, job: Job_contra) -> Result_co: ...

    def close(self) -> None: ...


class Executor(Protocol[Job_contra, Result_co]):
    """Runs jobs on workers.

    The worker of a job that raises is replaced and the job is run again; it is never given a made-up result.
    """

    def map(self, jobs: Sequence[Job_contra]) -> Iterator[tuple[int, Result_co]]:
        """Yields (position in jobs, result) as they finish, in any order.

        Raises:
            VmcError: raised by a worker (bad input, not tried again), or a job that failed `MAX_ATTEMPTS` times.
        """
        ...

    def close(self) -> None: ...


def make_executor(make_worker: Callable[[], Worker[Any, Any]], num_workers: int) -> Executor[Any, Any]:
    """`num_workers` worker processes, or this process when it is 0. `make_worker` must be picklable."""
    from vmc.executors.processes import ProcessExecutor
    from vmc.executors.serial import SerialExecutor

    return ProcessExecutor(make_worker, num_workers) if num_workers else SerialExecutor(make_worker)


def available_cores() -> int:
    """The cores that this process may run on, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """What the machine computes with."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def report_failure(failures: int, where: str, trace: str) -> None:
    """Shows a failed job's traceback; gives up after `MAX_ATTEMPTS`."""
    if failures >= MAX_ATTEMPTS:
        raise VmcError(
            f"A job failed {failures} times, last in {where}:\n{trace.rstrip()}",
            "Nothing was lost: mend the cause and run the same command again.",
        )
    print(f"{where} failed; it is replaced and its job is run again.\n{trace}", file=sys.stderr, flush=True)
