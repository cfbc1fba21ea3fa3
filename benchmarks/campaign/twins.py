"""Two processes at once on one run and one data folder: the second one is told, and results are never mixed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from commands import Child
from targets import TARGETS, Baseline, baselines, finished, name_of

__all__ = ["baselines", "case"]


def case(folder: Path, number: int, seed: int, expected: dict[str, Baseline]) -> list[dict[str, Any]]:
    """Gives a command twice, the second time at a random moment of the first, then once more."""
    rng = np.random.default_rng([seed, number, 5])
    name = name_of(number)
    target = TARGETS[name]
    place = target.begin(folder)
    first = Child(target.arguments, place)
    time.sleep(float(rng.uniform(0, expected[name].seconds)))
    outcomes = Child(target.arguments, place).ended(), first.ended()
    row = {"statuses": [outcome.status for outcome in outcomes]}
    refused = [outcome for outcome in outcomes if outcome.status]
    clear = all(outcome.status == 1 and "Another vmc process" in outcome.text for outcome in refused)
    if len(refused) < 2 and clear and not any(outcome.has_traceback for outcome in outcomes):
        return [{**row, **finished(folder, name, expected[name])}]
    return [{**row, "target": name, "verdict": "unclear", "text": "\n".join(each.text[-1000:] for each in outcomes)}]
