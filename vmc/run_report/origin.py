"""Where a run comes from: its recipe, by what its folder keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmc.errors import VmcError
from vmc.recipes import Recipe, completed, due_stages, load_recipe, preset_of, recipe_files, to_toml
from vmc.runs import RECIPE
from vmc.storage.files import read_json

Rounds = Sequence[Mapping[str, Mapping[str, Any]]]
_CONFIGS = {"train-vae": "vae", "train-mdrnn": "mdrnn", "train-controller": "controller"}


@dataclass(frozen=True)
class Origin:
    """A run's recipe.

    Attributes:
        file: of the run, which tells it: `recipe.toml`; else `run.json`; else the stages' `config.json`.
        recipe: with what is known of it.
        preset: the name of the same shipped recipe, if there is one.
        problem: why the recipe cannot be run by this version, if it cannot.
        due: the stages that the recipe asks for and that `run.json` does not have, such as `test (round 2)`.
    """

    file: str
    recipe: Recipe
    preset: str | None = None
    problem: str | None = None
    due: Sequence[str] = ()

    @property
    def toml(self) -> str:
        """The recipe's text."""
        return to_toml(self.recipe)


def read_origin(run: Path, env: str | None, records: Sequence[Mapping[str, Any]]) -> Origin | None:
    """The recipe of a run, None where its folder does not tell it.

    Raises:
        VmcError: a file is damaged.
    """
    if (run / RECIPE).exists():
        recipe = load_recipe(run / RECIPE)
        recipe = recipe if recipe.env else recipe.adapted(env)
        return Origin(RECIPE, recipe, _preset(recipe), due=_due(recipe, records))
    if records and all("settings" in record for record in records):
        recipe = _recorded(records, env)
        return Origin("run.json", recipe, problem=_problem(recipe))
    configs = {
        stage: read_json(run / folder / "config.json", "Move it away: the report is made without it.")
        for stage, folder in _CONFIGS.items()
    }
    stages = {stage: _options(config) for stage, config in configs.items() if config}
    env = env or next((config["env"] for config in configs.values() if config), None)
    return Origin("config.json", Recipe(run.name, (stages,), env=env)) if stages else None


def _recorded(records: Sequence[Mapping[str, Any]], env: str | None) -> Recipe:
    """The recipe that the records of `run.json` tell."""
    rounds: list[dict[str, dict[str, Any]]] = [{} for _ in range(1 + max(record["round"] for record in records))]
    episodes = 0
    for record in records:
        options = _options(record["settings"])
        if record["stage"] == "rollouts":  # records count those of all rounds, recipes those of each
            options["episodes"], episodes = options["episodes"] - episodes, options["episodes"]
        rounds[record["round"]][record["stage"]] = options
    first = records[0]["settings"]
    for stages in rounds:
        for options in stages.values():
            if options.get("seed") == first["seed"]:
                del options["seed"]  # it is the recipe's
    return Recipe("recorded", tuple(filter(None, rounds)), "Made from run.json.", env or first["env"], first["seed"])


def _problem(recipe: Recipe) -> str | None:
    try:
        completed(recipe)
    except VmcError as error:  # of an older version
        return error.problem
    return None


def _options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as options of a recipe, which has the environment itself, and no empty values."""
    return {name: value for name, value in settings.items() if name != "env" and value is not None}


def _preset(recipe: Recipe) -> str | None:
    wanted = completed(recipe).rounds
    for path in recipe_files().values():
        shipped = load_recipe(path)
        if shipped.env in (None, recipe.env) and completed(shipped.adapted(recipe.env, recipe.seed)).rounds == wanted:
            return preset_of(shipped)
    return None


def _due(recipe: Recipe, records: Sequence[Mapping[str, Any]]) -> list[str]:
    done = {(record["round"], record["stage"]) for record in records}
    return [
        f"`{due.stage}` of round {due.round + 1}" for due in due_stages(recipe) if (due.round, due.stage) not in done
    ]
