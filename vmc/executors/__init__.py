"""Executors run jobs in this process or in worker processes, under one contract."""

from vmc.executors.contract import Executor, Worker, available_cores, make_executor, processor
from vmc.executors.processes import ProcessExecutor
from vmc.executors.serial import SerialExecutor

__all__ = ["Executor", "ProcessExecutor", "SerialExecutor", "Worker", "available_cores", "make_executor", "processor"]
