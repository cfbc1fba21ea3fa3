"""Several training seeds of the same method, and the peer beside them: one JSON and one figure.

    python benchmarks/seeds.py [--add results/carracing-v3-laptop --name laptop]

`--add` keeps what the table and the figure need of a run that `vmc run` made, in `results/seeds/NAME-seed-N`, or of a
run of `benchmarks/ppo.py`. Without it, `results/seeds.json` and `docs/images/seeds.png` are made from what is kept.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from vmc.report import style
from vmc.report.search import Search
from vmc.seeds import over_seeds
from vmc.stages.evaluate import summary
from vmc.stages.results import read_result
from vmc.storage.files import write_json

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "results" / "seeds"
_FOLDER = re.compile(r"(.+)-seed-(\d+)")
# What is kept of a run.
_FILES = ("run.json", "test.json", "controller/metrics.jsonl", "controller/config.json", "ppo.json")
# In this order, with their titles in the table and in the figure.
METHODS = {
    "laptop": "`vmc run --preset laptop`",
    "dream": "`vmc run --preset dream`",
    "ppo-1m": "PPO (Stable-Baselines3), 1 million frames",
    "ppo-4m": "PPO (Stable-Baselines3), 4 million frames",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--add", type=Path, help="Keep this run.")
    parser.add_argument("--name", choices=METHODS, help="The method by which it was made.")
    given = parser.parse_args()
    if given.add is not None:
        _keep(given.add, given.name)
    rows = [row for name in METHODS if (row := _row(name)) is not None]
    write_json(ROOT / "results" / "seeds.json", rows)
    _draw(ROOT / "docs" / "images" / "seeds.png")


def _keep(run: Path, name: str) -> None:
    test = json.loads((run / ("ppo.json" if (run / "ppo.json").exists() else "test.json")).read_text(encoding="utf-8"))
    to = KEPT / f"{name}-seed-{test['seed'] if 'curve' in test else _training_seed(run)}"
    for file in _FILES:
        if (run / file).exists():
            (to / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / file, to / file)


def _training_seed(run: Path) -> int:
    return int(json.loads((run / "run.json").read_text(encoding="utf-8"))[0]["settings"]["seed"])


def _runs(name: str) -> list[tuple[int, Path]]:
    """The kept runs of a method, by their seeds."""
    found = [(match, path) for path in KEPT.glob("*") if (match := _FOLDER.fullmatch(path.name)) and match[1] == name]
    return sorted((int(match[2]), path) for match, path in found)


def _row(name: str) -> dict[str, Any] | None:
    seeds = [{"seed": seed, **_score(path)} for seed, path in _runs(name)]
    if not seeds:
        return None
    returns = [value for seed in seeds for value in seed.pop("returns")]
    means = [float(seed["mean"]) for seed in seeds]
    pooled = {"episodes": len(returns), **summary(returns)}
    return {"method": name, "median": float(np.median(means)), **over_seeds(means), "pooled": pooled, "seeds": seeds}


def _score(path: Path) -> dict[str, Any]:
    """A seed's score over its test episodes, with what it has cost."""
    if (path / "ppo.json").exists():
        ppo = json.loads((path / "ppo.json").read_text(encoding="utf-8"))
        cost = {"real_frames": ppo["frames"], "hours": ppo["hours"], "seed_uses": 1}
        return {"returns": ppo["returns"], **summary(ppo["returns"]), **cost}
    test, records = read_result(path / "test.json"), json.loads((path / "run.json").read_text(encoding="utf-8"))
    assert test is not None
    figures = [record["metrics"] for record in records]
    frames = [each["frames"] for each in figures if "frames" in each][-1]
    steps = [each["real steps"] for each in figures if "real steps" in each][-1]
    hours = sum(record["seconds"] for record in records) / 3600
    returns = [episode["episode_return"] for episode in test["episodes"]]
    cost = {"real_frames": frames + steps, "hours": round(hours, 2), "seed_uses": test["seed_uses"]}
    return {"returns": returns, **summary(returns), **cost}


def _curve(path: Path) -> list[tuple[float, float]]:
    """Millions of real frames, and the mean return on validation episodes."""
    if (path / "ppo.json").exists():
        curve = json.loads((path / "ppo.json").read_text(encoding="utf-8"))["curve"]
        return [(point["real_frames"] / 1e6, point["mean"]) for point in curve]
    return [(each.real_frames / 1e6, each.mean_return) for each in Search.read(path).validations("real")]


def _draw(path: Path) -> None:
    with style.drawn(path, 4.8) as figure:
        axis = figure.subplots()
        for (name, title), (color, marker) in zip(METHODS.items(), style.series(METHODS).values(), strict=True):
            for number, (_, run) in enumerate(_runs(name)):
                label = title.replace("`", "") if number == 0 else None
                line = {"color": color, "marker": marker, "linewidth": 1.0, "markersize": 3.5, "alpha": 0.8}
                axis.plot(*zip(*_curve(run), strict=True), label=label, **line)
        axis.set(
            xlabel="real frames (millions)", ylabel="return on validation episodes", xlim=(0, None), ylim=(-100, 950)
        )
        figure.suptitle("CarRacing-v3: a line for each training seed")
        style.legend_below(figure, columns=2)


if __name__ == "__main__":
    main()
