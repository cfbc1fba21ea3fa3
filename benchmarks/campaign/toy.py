"""The runs that faults are tried on: the whole chain on the toy environment, with two seeds."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from commands import Outcome, run

from vmc.storage.rollouts import RolloutDataset

TOY = "vmc/Toy-v0"
RECIPE = """
[[rounds]]
[rounds.rollouts]
episodes = 14
[rounds.train-vae]
epochs = 2
batch_size = 32
[rounds.train-mdrnn]
epochs = 6
batch_size = 4
window = 16
[rounds.train-controller]
dream = true
generations = 3
population_size = 6
rollouts_per_candidate = 2
validate_every = 1
validation_episodes = 2
horizon = 40
[rounds.test]
episodes = 4
"""
# A round more: what a run goes on with.
_ROUND = RECIPE.partition("[[rounds]]")[2].replace("episodes = 14", "episodes = 20")
_LONGER = f"{RECIPE}[[rounds]]{_ROUND}"
RUN = ("run", "--recipe", "toy.toml", "--data", "data", "--run", "run", "--workers", "0")
# The commands that read a run, by name: the arguments of each.
READERS: dict[str, Sequence[str]] = {
    "inspect": ("inspect", "run"),
    "inspect-data": ("inspect", "data"),
    "test": ("test", "run", "--episodes", "5", "--workers", "0"),
    "test-dream": ("test", "run", "--dream", "--episodes", "4", "--data", "data"),
    "export": ("export", "--run", "run", "--to", "copy"),
    "report": ("report", "run"),
    "list": ("list",),
    "go-on": ("run", "--recipe", "longer.toml", "--data", "data", "--run", "run", "--workers", "0"),
}


def recipe_of(rounds: str = RECIPE, seed: int = 0, env: str = TOY) -> str:
    """The text of a recipe."""
    return f'seed = {seed}\nenv = "{env}"\n{rounds}'


def make_runs(folder: Path) -> None:
    """Makes `first` and `second`, each with `data` and `run`, where they are not there yet."""
    for name, seed in (("first", 0), ("second", 1)):
        place = folder / name
        if (place / "run" / "test.json").exists():
            continue
        place.mkdir(parents=True, exist_ok=True)
        (place / "toy.toml").write_text(recipe_of(RECIPE, seed), encoding="utf-8")
        (place / "longer.toml").write_text(recipe_of(_LONGER, seed), encoding="utf-8")
        made = run(RUN, place)
        if made.status:
            raise SystemExit(f"The run that faults are tried on cannot be made:\n{made.text}")


def copied(source: Path, to: Path) -> Path:
    """A fresh copy of a run's folder."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(source, to, symlinks=True)
    return to


def removed(path: Path) -> None:
    """Removes a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def result_of(reader: str, folder: Path, outcome: Outcome) -> str:
    """What a command has found, as a hash: a changed one must never pass in silence."""
    return hashlib.sha256(json.dumps(_result(reader, folder, outcome), sort_keys=True).encode()).hexdigest()


def _result(reader: str, folder: Path, outcome: Outcome) -> object:
    run_folder = folder / "run"
    if reader == "test":
        return _score(run_folder / "test-5-episodes.json") or _score(run_folder / "test.json")
    if reader == "test-dream":
        return _score(run_folder / "test-dream.json")
    if reader == "export":
        return [_weights(path) for path in sorted((folder / "copy").glob("*/*.json"))]
    if reader == "data":
        return RolloutDataset(folder / "data").fingerprint()
    if reader == "go-on":
        return [_weights(path) for path in sorted(run_folder.glob("*/best.json"))] + [_score(run_folder / "test.json")]
    return None


def _score(path: Path) -> object:
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return [found["mean"], [(each["seed"], each["episode_return"]) for each in found["episodes"]]]


def _weights(sidecar: Path) -> object:
    return json.loads(sidecar.read_text(encoding="utf-8"))["files"]["weights"]["sha256"]
