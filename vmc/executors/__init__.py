"""Where jobs run: in this process, or in worker processes that are replaced when they die. One contract."""

from vmc.executors.contract import Executor, Worker, available_cores, make_executor, processor
from vmc.executors.processes import ProcessExecutor
from vmc.executors.serial import SerialExecutor

__all__ = ["Executor", "ProcessExecutor", "SerialExecutor", "Worker", "available_cores", "make_executor", "processor"]
