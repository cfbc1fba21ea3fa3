"""SIGINT and SIGTERM, once and twice, to the process and to its group: a checkpoint, 130 or 143, no child left."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from commands import Child
from targets import TARGETS, Baseline, baselines, finished, name_of

__all__ = ["baselines", "case"]

_STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def case(folder: Path, number: int, seed: int, expected: dict[str, Baseline]) -> list[dict[str, Any]]:
    """Interrupts one target at a random moment, looks for what it has left, then lets it end."""
    rng = np.random.default_rng([seed, number, 3])
    name = name_of(number)
    sent = (signal.SIGINT, signal.SIGTERM)[int(rng.integers(2))]
    to_group, twice = bool(rng.integers(2)), bool(rng.integers(2))
    moment = float(rng.uniform(0, expected[name].seconds))
    child = Child(TARGETS[name].arguments, TARGETS[name].begin(folder), _default_signals)
    time.sleep(moment)
    workers = psutil.Process(child.pid).children(recursive=True)
    for _ in range(1 + twice):
        (os.killpg if to_group else os.kill)(child.pid, sent)
        time.sleep(0.02)
    outcome = child.ended()
    _, left = psutil.wait_procs(workers, timeout=5)
    row = {"signal": sent.name, "group": to_group, "twice": twice, "moment": moment}
    row |= {"first status": outcome.status, "processes left": len(left)}
    # One that has not begun, or had ended, has no checkpoint to write.
    if outcome.status in (0, _STATUS[sent], -sent) and not outcome.has_traceback and not left:
        return [{**row, **finished(folder, name, expected[name])}]
    return [{**row, "target": name, "verdict": "unclean", "text": outcome.text[-2000:]}]


def _default_signals() -> None:
    """A shell starts what is in its background with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
