"""A recipe as what runs: for each round the settings of each stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, NamedTuple

from vmc.errors import VmcError
from vmc.recipes.recipe import Options, Recipe
from vmc.recipes.schema import stage_settings

_ROLLOUTS = "rollouts"


class DueStage(NamedTuple):
    """A stage of a round, and its settings."""

    round: int
    stage: str
    settings: Any


def due_stages(recipe: Recipe) -> Iterator[DueStage]:
    """The stages of a run of the recipe, in order. `episodes` of rollouts are all that the folder holds after them.

    Raises:
        VmcError: the recipe is for any environment, and none is given; or an option that a stage does not take.
    """
    episodes = 0
    for number, stages in enumerate(recipe.rounds):
        for stage, options in stages.items():
            settings = _settings(recipe, stage, options)
            if stage == _ROLLOUTS:
                episodes += settings.episodes
                settings = replace(settings, episodes=episodes)
            yield DueStage(number, stage, settings)


def first_settings(recipe: Recipe, stage: str, given: Mapping[str, Any] | None = None) -> Any:
    """The settings of a stage that runs alone: those of the first round that has it, and what is given beats them.

    Raises:
        VmcError: as `due_stages`.
    """
    return _settings(recipe, stage, recipe.options(stage), given or {})


def completed(recipe: Recipe) -> Recipe:
    """The recipe with every option of every stage, also those whose value is the default.

    Raises:
        VmcError: as `due_stages`.
    """
    rounds = tuple(
        {stage: _all_options(recipe, stage, options) for stage, options in stages.items()} for stages in recipe.rounds
    )
    return replace(recipe, rounds=rounds, measured=None)


def _all_options(recipe: Recipe, stage: str, options: Options) -> Options:
    values = asdict(_settings(recipe, stage, options))
    # The environment and the seed are the whole recipe's, and TOML has no null.
    return {
        name: value
        for name, value in values.items()
        if value is not None and name != "env" and (name, value) != ("seed", recipe.seed)
    }


def _settings(recipe: Recipe, stage: str, *layers: Options) -> Any:
    if recipe.env is None:
        raise VmcError(f"The recipe {recipe.name} is for any environment.", "Say which one: `--env`, or its own `env`.")
    return stage_settings(stage, recipe.env, {"seed": recipe.seed}, *layers)
