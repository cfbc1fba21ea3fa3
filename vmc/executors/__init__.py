"""Executors run jobs in this process or in worker processes, under one contract."""

from vmc.executors.contract import (
    EXECUTORS,
    Executor,
    ExecutorSettings,
    Worker,
    Workers,
    available_cores,
    executor_settings,
    make_executor,
    num_workers,
    processor,
)
from vmc.executors.processes import ProcessExecutor
from vmc.executors.serial import SerialExecutor

__all__ = [
    "EXECUTORS",
    "Executor",
    "ExecutorSettings",
    "ProcessExecutor",
    "SerialExecutor",
    "Worker",
    "Workers",
    "available_cores",
    "executor_settings",
    "make_executor",
    "num_workers",
    "processor",
]
