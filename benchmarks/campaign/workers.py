"""Workers that are killed, stopped or out of memory, on each executor: the command ends as if nothing had been.

An environment whose `step` or constructor hangs is among those of `strange`.
"""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import targets
from commands import Child
from targets import TARGETS, Baseline, finished

from vmc.executors.contract import MAX_ATTEMPTS

_NAMES = ("rollouts, two workers", "search in reality, two workers", "chain, two workers")
# A worker that answers nothing for so many seconds is ended. On a busy machine it takes some of them to start.
_EXECUTORS: dict[str, Sequence[str]] = {
    "processes": ("--job-timeout", "20"),
    "ray": ("--job-timeout", "60", "--executor", "ray"),
}
# The command lines of workers that run jobs.
_MARKS = {"processes": "spawn_main", "ray": "ray::_"}


def _kill(worker: psutil.Process) -> None:
    worker.send_signal(signal.SIGKILL)


def _stop(worker: psutil.Process) -> None:
    worker.send_signal(signal.SIGSTOP)


def _take_memory(worker: psutil.Process) -> None:
    """It gets no more than it has."""
    size = worker.memory_info().vms
    resource.prlimit(worker.pid, resource.RLIMIT_AS, (size, size))


_FAULTS: dict[str, Callable[[psutil.Process], None]] = {"killed": _kill, "stopped": _stop, "no memory": _take_memory}


def baselines(folder: Path, cases: Sequence[int]) -> dict[str, Baseline]:
    """The targets, without a fault."""
    return targets.baselines(folder, [list(TARGETS).index(name) for name in _NAMES])


def case(folder: Path, number: int, seed: int, expected: dict[str, Baseline]) -> list[dict[str, Any]]:
    """Strikes up to three workers of a command, each at a random moment."""
    rng = np.random.default_rng([seed, number, 8])
    name = _NAMES[number % 3]
    fault = list(_FAULTS)[number // 3 % 3]
    executor = "ray" if number // 9 % 2 else "processes"
    target, place = TARGETS[name], TARGETS[name].begin(folder)
    child = Child([*target.arguments, *_EXECUTORS[executor]], place)
    struck = []
    for _ in range(int(rng.integers(1, MAX_ATTEMPTS + 1))):
        time.sleep(float(rng.uniform(0, expected[name].seconds / 2)))
        struck += _strike(child.pid, executor, _FAULTS[fault], rng)
    outcome = child.ended()
    row = {"target": name, "executor": executor, "fault": fault, "struck": len(struck), "status": outcome.status}
    row["seconds"] = round(outcome.seconds, 1)
    if outcome.status == 1 and len(struck) >= MAX_ATTEMPTS and f"failed {MAX_ATTEMPTS} times" in outcome.text:
        return [{**row, **finished(folder, name, expected[name])}]  # the same job each time: it is given up
    if outcome.status == 0 and target.result(place, outcome) == expected[name].result:
        return [{**row, "verdict": "same"}]
    return [{**row, "verdict": "different", "text": outcome.text[-2000:]}]


def _strike(
    command: int, executor: str, fault: Callable[[psutil.Process], None], rng: np.random.Generator
) -> list[int]:
    """Strikes one worker of a command, once there is one; none where the command ends before."""
    while True:
        try:
            children = psutil.Process(command).children(recursive=True)
            if psutil.Process(command).status() == psutil.STATUS_ZOMBIE:
                return []
            found = [each for each in children if _MARKS[executor] in " ".join(each.cmdline())]
            if found:
                worker = found[int(rng.integers(len(found)))]
                fault(worker)
                return [worker.pid]
        except (psutil.NoSuchProcess, psutil.ZombieProcess, ProcessLookupError):
            pass
        time.sleep(0.05)
