"""Folders of runs with a score, a search and costs, without any model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report_lines import a_line, in_reality

from vmc.stages.evaluate import summary

RETURNS = (10.25, 20.5, 40.125, 5.0, 17.75)
QUICK = Path(__file__).parents[2] / "results" / "quick"


def a_test(returns: Sequence[float] = RETURNS, env: str = "CarRacing-v3", **config: Any) -> dict[str, Any]:
    """What `test.json` holds."""
    rows = [{"seed": 7 + n, "episode_return": value, "episode_length": 100 + n} for n, value in enumerate(returns)]
    settings = {"env": env, "policy": "controller", "seed": 3, "max_steps": None, **config}
    versions = {"python": "3.11.7", "vmc": "0.1.0"}
    about = {"env": env, "dream": False, "temperature": None, "controller": "c" * 64, "seconds": 1.0}
    return {**about, "episodes": rows, **summary(returns), "config": settings, "versions": versions}


def a_run(folder: Path, test: dict[str, Any] | None = None, searched: bool = False, recorded: bool = False) -> Path:
    """A run's folder with those files."""
    (folder / "controller").mkdir(parents=True)
    (folder / "controller" / "config.json").write_text('{"env": "CarRacing-v3"}')
    if test is not None:
        (folder / "test.json").write_text(json.dumps(test))
    if searched:
        lines = [a_line(1, **in_reality(3)), a_line(2, **in_reality(9)), a_line(3)]
        (folder / "controller" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if recorded:
        (folder / "run.json").write_text(json.dumps(records()))
    return folder


def records() -> list[dict[str, Any]]:
    """What `run.json` holds after two rounds."""
    common = {"seconds": 3600.0, "output": "0"}
    data = [{"episodes": 10, "frames": 1000}, {"episodes": 15, "frames": 1500}]
    search = [{"generations": 2, "real steps": 3000}, {"generations": 4, "real steps": 7000}]
    return [
        {"round": number, "stage": stage, "metrics": metrics[number], "settings": settings, **common}
        for number in (0, 1)
        for stage, metrics, settings in (
            ("rollouts", data, {"env": "CarRacing-v3", "episodes": (10, 15)[number], "seed": 4, "max_steps": None}),
            ("train-controller", search, {"env": "CarRacing-v3", "generations": 2, "dream": number == 0, "seed": 4}),
        )
    ]
