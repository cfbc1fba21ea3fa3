"""Writes a recipe as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from vmc.recipes.recipe import Recipe, Round


def to_toml(recipe: Recipe) -> str:
    """The text of a file that `load_recipe` reads as the same recipe, without what was measured."""
    return "\n".join(_lines(recipe)) + "\n"


def settings_toml(head: Mapping[str, Any], stage: str, settings: Mapping[str, Any]) -> str:
    """A stage's settings as TOML, below what stands outside of them; those without a value are named in a comment."""
    lines = [f"{name} = {_value(value)}" for name, value in head.items()]
    lines += ["", f"[{stage}]", *(f"{name} = {_value(value)}" for name, value in settings.items() if value is not None)]
    unset = [name for name, value in settings.items() if value is None]
    return "\n".join([*lines, *([f"# without a value: {', '.join(unset)}"] if unset else [])])


def _lines(recipe: Recipe) -> Iterator[str]:
    yield f"description = {_value(recipe.description)}"
    if recipe.env is not None:
        yield f"env = {_value(recipe.env)}"
    yield f"seed = {recipe.seed}"
    yield from (f"{name.replace('-', '_')} = {_value(value)}" for name, value in recipe.workers.given().items())
    for stages, same in groupby(recipe.rounds):
        yield from ("", "[[rounds]]", f"repeat = {len(list(same))}")
        yield from _stage_lines(stages)


def _stage_lines(stages: Round) -> Iterator[str]:
    for stage, options in stages.items():
        yield f"[rounds.{stage}]"
        yield from (f"{name} = {_value(value)}" for name, value in options.items())


def _value(value: str | float | bool | list[float]) -> str:
    """A JSON scalar is one of TOML too, if no character of it is escaped as a pair."""
    return json.dumps(value, ensure_ascii=False)
