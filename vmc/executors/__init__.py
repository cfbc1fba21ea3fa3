"""Executors run jobs in this process or in worker processes, under one contract."""

from vmc.executors.contract import (
    Executor,
    ExecutorSettings,
    Worker,
    Workers,
    available_cores,
    executor_settings,
    make_executor,
    processor,
)
from vmc.executors.processes import ProcessExecutor
from vmc.executors.serial import SerialExecutor

__all__ = [
    "Executor",
    "ExecutorSettings",
    "ProcessExecutor",
    "SerialExecutor",
    "Worker",
    "Workers",
    "available_cores",
    "executor_settings",
    "make_executor",
    "processor",
]
