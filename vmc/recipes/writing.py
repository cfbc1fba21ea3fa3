"""Writes a recipe as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby

from vmc.recipes.recipe import Recipe, Round


def to_toml(recipe: Recipe) -> str:
    """The text of a file that `load_recipe` reads as the same recipe, without what was measured."""
    return "\n".join(_lines(recipe)) + "\n"


def _lines(recipe: Recipe) -> Iterator[str]:
    yield f"description = {_value(recipe.description)}"
    if recipe.env is not None:
        yield f"env = {_value(recipe.env)}"
    yield f"seed = {recipe.seed}"
    for stages, same in groupby(recipe.rounds):
        yield from ("", "[[rounds]]", f"repeat = {len(list(same))}")
        yield from _stage_lines(stages)


def _stage_lines(stages: Round) -> Iterator[str]:
    for stage, options in stages.items():
        yield f"[rounds.{stage}]"
        yield from (f"{name} = {_value(value)}" for name, value in options.items())


def _value(value: str | float | bool) -> str:
    """A JSON scalar is one of TOML too, if no character of it is escaped as a pair."""
    return json.dumps(value, ensure_ascii=False)
