"""kill -9 at random moments: the same command goes on, and ends bit-identical to the one that nobody killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import toy
from commands import run

# What is killed: the arguments, and whether it begins with nothing or with a run.
TARGETS = {
    "chain": (toy.READERS["go-on"], False),
    "chain, two workers": ((*toy.READERS["go-on"][:-1], "2"), False),
    "round": (toy.READERS["go-on"], True),
    "test": (toy.READERS["test"], True),
    "export": (toy.READERS["export"], True),
    "report": (toy.READERS["report"], True),
}
_READER = {"test": "test", "export": "export", "report": "report"}
_MOST_KILLS = 3


def _begin(folder: Path, with_run: bool) -> Path:
    place = toy.copied(folder / "first", folder / "case")
    if not with_run:
        for name in ("run", "data"):
            toy.removed(place / name)
    return place


def baselines(folder: Path) -> dict[str, tuple[str, float]]:
    """The result of each target that nobody kills, and its seconds."""
    found = {}
    for name, (arguments, with_run) in TARGETS.items():
        place = _begin(folder, with_run)
        outcome = run(arguments, place)
        if outcome.status:
            raise SystemExit(f"{name} fails without a fault:\n{outcome.text}")
        found[name] = toy.result_of(_READER.get(name, "go-on"), place, outcome), outcome.seconds
    return found


def case(folder: Path, number: int, seed: int, expected: dict[str, tuple[str, float]]) -> list[dict[str, Any]]:
    """Kills one target up to three times at random moments, then lets it end."""
    rng = np.random.default_rng([seed, number, 2])
    name = list(TARGETS)[int(rng.integers(len(TARGETS)))]
    arguments, with_run = TARGETS[name]
    place, (result, seconds) = _begin(folder, with_run), expected[name]
    moments = [float(rng.uniform(0, seconds)) for _ in range(int(rng.integers(1, _MOST_KILLS + 1)))]
    killed = [moment for moment in moments if run(arguments, place, killed_after=moment).status == -9]
    outcome = run(arguments, place)
    same = outcome.status == 0 and toy.result_of(_READER.get(name, "go-on"), place, outcome) == result
    left = [str(path.relative_to(place)) for path in place.rglob("*.partial")]
    verdict = "same" if same and not left else "traceback" if outcome.has_traceback else "different"
    row = {"target": name, "kills": killed, "status": outcome.status, "left": left, "verdict": verdict}
    return [row if verdict == "same" else {**row, "text": outcome.text[-2000:]}]
