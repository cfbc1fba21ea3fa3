"""What lies under `results/`: each run's environment, score and models, and what can be done with it next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmc.envs import CARRACING, TASKS, get_task
from vmc.errors import VmcError
from vmc.models.checkpoints import (
    TRAIN_CONTROLLER,
    TRAIN_MDRNN,
    TRAIN_VAE,
    controller_folder,
    dynamics_folder,
    vae_folder,
)
from vmc.recipes import DEFAULT_PRESET, SMOKE_PRESET, Recipe, load_recipe, preset_of, recipe_files
from vmc.stages.results import read_result
from vmc.storage.checkpoint import has_checkpoint, read_sidecar
from vmc.storage.files import read_json

RESULTS = Path("results")
RECIPE = "recipe.toml"
TEST = "test.json"
_STAGES = {"V": vae_folder, "M": dynamics_folder, "C": controller_folder}
_PICTURES = (".png", ".gif", ".mp4")
_NAMED = 8  # runs in a message


@dataclass(frozen=True)
class Score:
    """What a `test.json` says: mean and standard deviation of the returns, and who acted."""

    mean: float
    std: float
    episodes: int
    policy: str

    def __str__(self) -> str:
        return f"{self.mean:.1f} ± {self.std:.1f} over {self.episodes} episodes"


@dataclass(frozen=True)
class RunSummary:
    """A run's folder.

    Attributes:
        env: the environment that it was trained on; None where nothing says it.
        score: of its test; None where it was not tested.
        models: those of V, M and C whose weights it holds.
    """

    path: Path
    env: str | None
    score: Score | None
    models: tuple[str, ...]


def env_of(run: Path) -> str | None:
    """The environment of a run: its V's, else its recipe's, else its test's; None where none of them is there."""
    with suppress(VmcError):
        return str(read_sidecar(vae_folder(run), "best", TRAIN_VAE)["info"]["env"])
    if (run / RECIPE).exists():
        with suppress(VmcError):
            return load_recipe(run / RECIPE).env
    return _read_test(run).get("env")


def find_runs(folder: Path = RESULTS) -> list[RunSummary]:
    """The runs in a folder, and in the folders of it that are no runs themselves (such as `results/ablation`)."""
    return [summarise(path) for path in _run_folders(folder, depth=2)]


def summarise(run: Path) -> RunSummary:
    """What a run's folder holds, as far as it can be read."""
    test = _read_test(run)
    score = None
    with suppress(KeyError, TypeError):
        policy = test["config"].get("policy", "controller")
        score = Score(float(test["mean"]), float(test["std"]), len(test["episodes"]), policy)
    models = tuple(name for name, place in _STAGES.items() if has_checkpoint(place(run), "best"))
    return RunSummary(run, env_of(run), score, models)


def require_run(run: Path) -> None:
    """Raises a `VmcError` if a folder holds no run: it names the runs that are in it or beside it."""
    if _is_run(run):
        return
    found = [str(each.path) for each in find_runs(run) or find_runs(run.parent)]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    known = f"Runs that are there: {', '.join(found[:_NAMED])}{more}." if found else "To make one: `vmc run`."
    what = "holds no run" if run.is_dir() else "is no folder"
    raise VmcError(f"{run} {what}.", known)


def require_agent(run: Path) -> None:
    """Raises a `VmcError` if nothing was trained in a run: it names the agents that are there, and how to train one."""
    if has_checkpoint(vae_folder(run), "best"):
        return
    agents = [found for found in find_runs(run.parent) if "C" in found.models]
    known = "".join(f"\n    vmc test {agent.path}  ({agent.env})" for agent in agents)
    stages = ", ".join(f"`{command}`" for command in ("vmc rollouts", TRAIN_VAE, TRAIN_MDRNN, TRAIN_CONTROLLER))
    train = f"To train one: `vmc run`, or in this order {stages}, `vmc test`."
    raise VmcError(
        f"There is no checkpoint {vae_folder(run) / 'best.json'}: nothing was trained in {run}.",
        f"Agents that can be tested now:{known}\n  {train}" if known else train,
    )


def random_score(env: str, folder: Path = RESULTS) -> float | None:
    """The mean return of a random policy, if a test of one is in the folder."""
    for run in find_runs(folder):
        if run.env == env and run.score is not None and run.score.policy == "random":
            return run.score.mean
    with suppress(VmcError, ValueError, KeyError, TypeError):
        rows = read_json(folder / "environments.json", "")
        return next((float(row["random"]["mean"]) for row in rows if row["env"] == env), None)
    return None


def ending(recipe: Recipe, data: Path, run: Path) -> Iterator[str]:
    """Lines for the end of a run: its folder, what its score compares with, its pictures, what to try next."""
    env = recipe.env or CARRACING
    yield f"The run is in {run}; its episodes are in {data}."
    if preset_of(recipe) == SMOKE_PRESET:
        yield "The recipe `smoke` only checks that everything works: its score means nothing."
    else:
        others: dict[str, float | str | None] = {"a random policy": random_score(env, run.parent)}
        others |= {**_best_agent(env, run), "the paper": get_task(env).published.get("full")}
        known = [f"{who} {_rounded(score)}" for who, score in others.items() if score is not None]
        if known:
            yield f"For comparison: {', '.join(known)}."
    pictures = sorted(path for path in run.rglob("*") if path.suffix in _PICTURES)
    if pictures:
        yield "Pictures: " + ", ".join(map(str, pictures))
    yield "Next:"
    yield from (f"  {command}" for command in _next_commands(recipe, env, data, run))


def _best_agent(env: str, run: Path) -> dict[str, float]:
    """The best other agent of this environment beside a run, and its mean return; empty if there is none."""
    agents = [other for other in find_runs(run.parent) if "C" in other.models and other.path != run]
    scores = {f"the agent in {each.path}": each.score.mean for each in agents if each.env == env and each.score}
    best = max(scores, key=scores.__getitem__, default=None)
    return {} if best is None else {best: scores[best]}


def _next_commands(recipe: Recipe, env: str, data: Path, run: Path) -> Iterator[str]:
    yield f"vmc play {run}"
    yield f"vmc report {run}"
    if preset_of(recipe) == DEFAULT_PRESET:
        yield f"vmc faithfulness {run} --data {data}"
    else:
        yield " ".join(["vmc run", *([] if env == CARRACING else [f"--env {env}"]), f"--preset {DEFAULT_PRESET}"])


def _rounded(score: float | str) -> str:
    return score if isinstance(score, str) else f"{score:.1f}"


@dataclass(frozen=True)
class KnownEnvironment:
    """An entry of the table `TASKS`.

    Attributes:
        presets: the recipes for this environment alone, each with its measured score or an empty text.
        published: the paper's score, or an empty text.
    """

    name: str
    presets: dict[str, str]
    published: str


def known_environments() -> list[KnownEnvironment]:
    """What vmc knows about environments, and a row for any other."""
    recipes = [load_recipe(path) for path in recipe_files().values()]

    def presets(name: str | None) -> dict[str, str]:
        own = [recipe for recipe in recipes if recipe.env == name]
        return {preset_of(recipe): recipe.measured.score if recipe.measured else "" for recipe in own}

    known = [KnownEnvironment(name, presets(name), task.published.get("full", "")) for name, task in TASKS.items()]
    return [*known, KnownEnvironment("any", presets(None), "")]


def _run_folders(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(each for each in folder.glob("*") if each.is_dir()):
        if _is_run(path):
            yield path
        elif depth > 1:
            yield from _run_folders(path, depth - 1)


def _is_run(path: Path) -> bool:
    names = (TEST, RECIPE, "run.json", *(f"{place(path).name}/config.json" for place in _STAGES.values()))
    return any((path / name).exists() for name in names) or has_checkpoint(vae_folder(path), "best")


def _read_test(run: Path) -> dict[str, Any]:
    with suppress(VmcError):
        return read_result(run / TEST) or {}
    return {}
