"""Reads a recipe and checks all of it; what is wrong is told with its line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from vmc.config import OptionError, did_you_mean, make_checked, option
from vmc.envs.name import parse_name
from vmc.errors import VmcError
from vmc.executors import ExecutorSettings
from vmc.recipes.lines import Place, key_lines, line_of
from vmc.recipes.recipe import Measured, Options, Recipe, Round
from vmc.recipes.schema import StageOptionError, check_options
from vmc.stages.settings import STAGES
from vmc.storage.files import read_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class _Head:
    """The keys above the rounds."""

    description: str = ""
    env: str | None = None
    seed: int = option(0, least=0)


@dataclass(frozen=True)
class _Repeat:
    """The number of times a round is run."""

    repeat: int = option(1, least=1)


_HEAD = [field.name for field in fields(_Head)]
_WORKERS = [field.name for field in fields(ExecutorSettings)]


def load_recipe(path: str | Path) -> Recipe:
    """The recipe in a file.

    Raises:
        VmcError: there is no such file, or something in it is wrong: the file, the line, what is expected.
    """
    path = Path(path)
    try:
        text = read_file(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise VmcError(
            f"{path} cannot be read: {error}.", "`vmc recipes` lists the recipes that are shipped."
        ) from None
    return _Reader(str(path), text).recipe(path.stem)


class _Reader:
    """A recipe's text, and where its keys stand."""

    def __init__(self, source: str, text: str) -> None:
        self._source, self._lines = source, key_lines(text)
        try:
            self._document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            number = int(line[1]) if line else max(len(text.splitlines()), 1)
            raise VmcError(f"{source}, line {number}: this is no TOML: {error}.", "See https://toml.io.") from None

    def recipe(self, name: str) -> Recipe:
        document = self._document
        self._check_keys((), "a recipe", document, [*_HEAD, *_WORKERS, "measured", "rounds"])
        head = self._made(_Head, (), {key: document[key] for key in _HEAD if key in document})
        self._check_env(head.env)
        measured = document.get("measured")
        return Recipe(
            name,
            self._rounds(document.get("rounds")),
            head.description,
            head.env,
            head.seed,
            None if measured is None else self._made(Measured, ("measured",), measured),
            self._made(ExecutorSettings, (), {key: document[key] for key in _WORKERS if key in document}),
        )

    def _rounds(self, tables: Any) -> tuple[Round, ...]:
        if not isinstance(tables, list) or not tables:
            raise self._error(("rounds",), "a recipe has one round or more.", "Begin each with a line `[[rounds]]`.")
        rounds: list[Round] = []
        for position, table in enumerate(tables):
            place = ("rounds", position)
            self._check_is_table(place, f"round {position + 1}", table)
            repeat = self._made(_Repeat, place, {key: table[key] for key in table if key == "repeat"}).repeat
            rounds += [self._round(place, {key: table[key] for key in table if key != "repeat"})] * repeat
        return tuple(rounds)

    def _round(self, place: Place, stages: Mapping[str, Any]) -> Round:
        self._check_keys(place, "a round", stages, STAGES)
        if not stages:
            raise self._error(place, "this round has no stage.", f"There are: {', '.join(STAGES)}.")
        for stage, options in stages.items():
            self._check_is_table((*place, stage), stage, options)
            self._check_stage((*place, stage), stage, options)
        return stages

    def _check_stage(self, place: Place, stage: str, options: Options) -> None:
        try:
            check_options(stage, options)
        except StageOptionError as error:
            raise self._error((*place, error.option), error.problem, error.hint) from None

    def _check_env(self, env: str | None) -> None:
        try:
            parse_name(env or "")
        except VmcError as error:
            raise self._error(("env",), error.problem, error.hint) from None

    def _check_keys(self, place: Place, what: str, table: Mapping[str, Any], known: Iterable[str]) -> None:
        for key in table:
            if key not in known:
                raise self._error((*place, key), f"{what} has no {key!r}.", did_you_mean(key, known))

    def _check_is_table(self, place: Place, what: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise self._error(place, f"{what} is {value!r}; it must be a table of options.")

    def _made(self, kind: type[Any], place: Place, table: Any) -> Any:
        self._check_is_table(place, ".".join(map(str, place)), table)
        try:
            return make_checked(kind, table)
        except OptionError as error:
            raise self._error((*place, error.option), f"{error.option} {error.what}", error.hint) from None

    def _error(self, place: Place, problem: str, hint: str | None = None) -> VmcError:
        return VmcError(f"{self._source}, line {line_of(place, self._lines)}: {problem}", hint)
