"""kill -9 at random moments: the same command goes on, and ends bit-identical to the one that nobody killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from commands import run
from targets import TARGETS, Baseline, baselines, finished, name_of

__all__ = ["baselines", "case"]

_MOST_KILLS = 3


def case(folder: Path, number: int, seed: int, expected: dict[str, Baseline]) -> list[dict[str, Any]]:
    """Kills one target up to three times at random moments, then lets it end."""
    rng = np.random.default_rng([seed, number, 2])
    name = name_of(number)
    target = TARGETS[name]
    place, seconds = target.begin(folder), expected[name].seconds
    moments = [float(rng.uniform(0, seconds)) for _ in range(int(rng.integers(1, _MOST_KILLS + 1)))]
    killed = [moment for moment in moments if run(target.arguments, place, killed_after=moment).status == -9]
    return [{"kills": killed, **finished(folder, name, expected[name])}]
