"""The contract of an executor, and the function that makes one."""

from __future__ import annotations

import math
import os
import platform
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol, TypeVar

from vmc.config import did_you_mean, option
from vmc.errors import VmcError
from vmc.extras import EXTRAS, require

Job_contra = TypeVar("Job_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

MAX_ATTEMPTS = 3
# A job that takes longer hangs: it is an episode, four of them, or a block of dreams.
JOB_TIMEOUT = 3600.0
# By the names of `--executor`; each is `module:attribute`, imported on first use.
EXECUTORS = {
    "processes": "vmc.executors.processes:ProcessExecutor",
    "ray": "vmc.executors.ray:RayExecutor",
}


@dataclass(frozen=True)
class ExecutorSettings:
    """Where jobs run.

    Attributes:
        workers: Use this many worker processes; 0 works in the main process. `max`, the default, has one for each core
            of this machine, or of the cluster (for each GPU where workers have GPUs).
        executor: Run the workers as `processes` of this machine (the default), or by `ray` on a cluster.
        address: Use this Ray cluster: `local`, the default, starts one on this machine, `auto` joins the one that runs
            here; HOST:6379 and ray://HOST:10001 are elsewhere.
        gpus_per_worker: Give each worker that dreams this many of the cluster's GPUs; 0.5 lets two workers share one.
        job_timeout: End a worker that takes longer than this many seconds for a job, and run the job again on another;
            at the third time the command fails. Without it, an hour is the limit; 0 waits for ever.

    Raises:
        VmcError: values that contradict each other.
    """

    workers: int | None = option(None, least=0)
    executor: str = option("processes", choices=[*EXECUTORS])
    address: str | None = None
    gpus_per_worker: float = option(0.0, least=0)
    job_timeout: float | None = option(None, least=0)

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise VmcError(f"There is no executor {self.executor!r}.", did_you_mean(self.executor, EXECUTORS))
        if self.workers == 0 and (self.job_timeout or self.executor != "processes"):
            raise VmcError(
                "With 0 workers, jobs run in the main process: not on a cluster, and nothing can end one that hangs.",
                "Give --workers 1 or more, or leave out --executor and --job-timeout.",
            )
        numbers = {"job timeout": self.job_timeout or 0.0, "number of GPUs for a worker": self.gpus_per_worker}
        for name, value in numbers.items():
            if not math.isfinite(value) or value < 0:
                raise VmcError(f"The {name} is {value}; it must be a finite number of at least 0.")
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise VmcError(f"A worker cannot have {self.gpus_per_worker} GPUs.", "Give a whole number, or less than 1.")
        if self.address == "":
            raise VmcError("The address is empty.", "Give local, auto, HOST:6379 or ray://HOST:10001.")
        if self.executor != "ray" and (self.address or self.gpus_per_worker):
            raise VmcError("An address and GPUs for workers belong to a cluster.", "Give --executor ray, too.")

    @property
    def seconds(self) -> float | None:
        """The longest time of a job; None where there is no limit."""
        return (JOB_TIMEOUT if self.job_timeout is None else self.job_timeout) or None

    def given(self) -> dict[str, str | float]:
        """What is set, by the names of the options."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name.replace("_", "-"): value for name, (value, default) in values.items() if value != default}


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

        No worker begins another job before its result has been taken, so results never pile up.

        Raises:
            VmcError: a worker raised it (bad input is not tried again), or a job failed `MAX_ATTEMPTS` times.
        """
        ...

    def close(self) -> None: ...


class Done:
    """The result of a job, as a worker sends it."""

    def __init__(self, result: Any) -> None:
        self.result = result


class Failed:
    """The traceback of a failed job, and its error if it was a `VmcError`. The driver makes it if the worker died."""

    def __init__(self, trace: str, error: VmcError | None = None, worker_died: bool = False) -> None:
        self.trace = trace
        self.error = error
        self.worker_died = worker_died


class JobRunner:
    """A worker's side of an executor: makes the worker with the first job, and turns what it raises into `Failed`."""

    def __init__(self, make_worker: Callable[[], Worker[Any, Any]]) -> None:
        self._make_worker = make_worker
        self._worker: Worker[Any, Any] | None = None

    def run(self, job: Any) -> Done | Failed:
        """Runs one job, whatever happens."""
        try:
            if self._worker is None:
                self._worker = self._make_worker()
            return Done(self._worker.run(job))
        except VmcError as error:
            return Failed(traceback.format_exc(), error)
        except Exception:
            return Failed(traceback.format_exc())

    def close(self) -> None:
        """Closes the worker, if one was made."""
        if self._worker is not None:
            self._worker.close()


def executor_settings(workers: Workers) -> ExecutorSettings:
    """The settings that a plain number stands for, or those given."""
    return workers if isinstance(workers, ExecutorSettings) else ExecutorSettings(workers)


def make_executor(
    make_worker: Callable[[], Worker[Any, Any]], workers: Workers, on_gpus: bool = False
) -> Executor[Any, Any]:
    """Makes an executor; with 0 workers, one in this process.

    Args:
        make_worker: picklable, and without a path: the worker may be on another machine.
        on_gpus: the workers have use for GPUs, where the settings give them any.

    Raises:
        VmcError: the executor needs an extra that is not installed.
    """
    from vmc.executors.serial import SerialExecutor

    settings = executor_settings(workers)
    if settings.workers == 0:
        return SerialExecutor(make_worker)
    if not on_gpus:
        settings = replace(settings, gpus_per_worker=0.0)
    return executor_class(settings)(make_worker, settings)  # type: ignore[no-any-return]


def num_workers(workers: Workers) -> int:
    """The number of workers now; 0 for the main process."""
    settings = executor_settings(workers)
    if settings.workers is not None:
        return settings.workers
    return executor_class(settings).most_workers(settings)  # type: ignore[no-any-return]


def executor_class(settings: ExecutorSettings) -> Any:
    """The executor of the table.

    Raises:
        VmcError: it needs an extra that is not installed.
    """
    if settings.executor in EXTRAS:
        require(settings.executor, "leave out --executor")
    return resolve_name(EXECUTORS[settings.executor])


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
