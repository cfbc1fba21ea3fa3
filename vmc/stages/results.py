"""Where the result of a test is kept, so that no better one is lost.

`test.json` is the score of the run's present C, and `test-dream.json` that in the dream. A result goes there, unless
what is there tells more about the same C. Then it goes to a name that says what was tested.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vmc.dream.settings import DreamSettings
from vmc.errors import VmcError
from vmc.models.checkpoints import controller_folder
from vmc.storage.checkpoint import has_checkpoint
from vmc.storage.files import CannotWriteError, explained_os_errors, read_json, readable, write_json
from vmc.storage.journal import sealed, unsealed

Result = Mapping[str, Any]
CONTROLLER = "controller"
_AGAIN = "Remove it, and run `vmc test` again."
_LIMITS = {False: ["max_steps"], True: [field.name for field in fields(DreamSettings)]}


class Kept(NamedTuple):
    """Where a result was written (None: nowhere), and a sentence where that is not the run's own file."""

    path: Path | None
    note: str | None = None


@dataclass(frozen=True)
class Terms:
    """What a result is a result of, beside its number of episodes.

    Attributes:
        of: the hashes of C, and of C with V and M; None for a policy without models, and what an older result lacks.
        limits: what was given, and is not as in the search that found C.
    """

    of: tuple[str | None, str | None]
    policy: str
    seed: int
    dream: bool
    num_episodes: int
    limits: Mapping[str, Any]

    def __str__(self) -> str:
        """`20 episodes (seed 1, max steps 50)`."""
        special = f" ({', '.join(self._special())})" if self._special() else ""
        return f"{self.num_episodes} episodes{special}"

    @property
    def file_name(self) -> str:
        """A name that says what was tested: `test-random-20-episodes-seed-1.json`."""
        what = ["dream"] * self.dream + [self.policy] * (self.policy != CONTROLLER)
        return "-".join(["test", *what, f"{self.num_episodes} episodes", *self._special()]).replace(" ", "-") + ".json"

    def _special(self) -> list[str]:
        """What is not as usual."""
        seed = [f"seed {self.seed}"] if self.seed else []
        return seed + [f"{name.replace('_', ' ')} {value}" for name, value in self.limits.items()]


def terms_of(result: Result, own_dream: Mapping[str, Any]) -> Terms:
    """The terms of a result in the format of `test.json`.

    Args:
        own_dream: the dream that C was evolved in.
    """
    config, dream = result["config"], bool(result["dream"])
    given = {name: config[name] for name in _LIMITS[dream] if config.get(name) is not None}
    limits = {name: value for name, value in given.items() if value != own_dream.get(name)}
    policy = config.get("policy", CONTROLLER)
    return Terms(_whose(result), policy, config["seed"], dream, len(result["episodes"]), limits)


def write_result(path: Path, result: Result) -> None:
    """Writes a result with its hash."""
    write_json(path, sealed([result])[0])


def keep(result: Result, run: Path, own_dream: Mapping[str, Any]) -> Kept:
    """Writes a result into the run's folder, and leaves a better one alone."""
    own, new = run / ("test-dream.json" if result["dream"] else "test.json"), terms_of(result, own_dream)
    try:
        path, note = _place(own, new, own_dream)
        write_result(path, result)
    except CannotWriteError as error:
        return Kept(None, f"The result is not kept. {error.problem} Give --json FILE to write it elsewhere.")
    return Kept(path, note)


def keep_table(table: Sequence[Result], run: Path) -> Kept:
    """Writes a table of temperatures to `test-temperatures.json`, and leaves a better one of the same C alone."""
    path, note, new = run / "test-temperatures.json", None, _table_terms(table)
    try:
        old = _table_terms(read_json(path, _AGAIN))
    except (VmcError, ValueError, KeyError, TypeError, IndexError):
        old = None
    if old is not None and _is_same(old.of, new.of) and not new.holds(old):
        own, path = path, path.with_name(new.file_name)
        note = f"{own} keeps its {old}; this table is in {path}."
    try:
        write_json(path, table)
    except CannotWriteError as error:
        return Kept(None, f"The table is not kept. {error.problem}")
    return Kept(path, note)


@dataclass(frozen=True)
class _TableTerms:
    """What a table of temperatures is a result of."""

    of: tuple[str | None, str | None]
    seed: int
    num_episodes: int
    temperatures: tuple[float, ...]

    def __str__(self) -> str:
        values = ", ".join(f"{value:g}" for value in self.temperatures)
        seed = f", seed {self.seed}" if self.seed else ""
        return f"temperatures {values}, {self.num_episodes} episodes{seed}"

    @property
    def file_name(self) -> str:
        return "-".join(["test", *str(self).replace(",", "").split()]) + ".json"

    def holds(self, other: _TableTerms) -> bool:
        """Whether this table tells all that the other one tells."""
        has_all = set(other.temperatures) <= set(self.temperatures)
        return self.seed == other.seed and self.num_episodes >= other.num_episodes and has_all


def _table_terms(table: Sequence[Result]) -> _TableTerms:
    config, temperatures = table[0]["config"], [row["temperature"] for row in table]
    values = tuple(value for value in temperatures if value is not None)  # the last row is reality's
    return _TableTerms(_whose(table[0]), config["seed"], config["episodes"], values)


def read_result(path: Path) -> dict[str, Any] | None:
    """A result of `vmc test`; None where there is none.

    Raises:
        VmcError: it is damaged: it is not the one that was written, or its figures are not those of its episodes.
    """
    found = read_json(path, _AGAIN)
    if found is None:
        return None
    with readable(path, _AGAIN):
        (result,) = unsealed([found], path, _AGAIN)
        returns = [episode["episode_return"] for episode in result["episodes"]]
        numbers = [*returns, *(episode["episode_length"] for episode in result["episodes"])]
        figures = {"mean": np.mean(returns), "std": np.std(returns, ddof=1), "min": min(returns), "max": max(returns)}
        low, high = result["ci95"]
        texts = [result["env"], *result["versions"].values()]
        if (
            not all(map(_is_number, [*numbers, low, high, result["config"]["seed"]]))
            or not low <= result["mean"] <= high
        ):
            raise ValueError
        if not all(isinstance(text, str) for text in texts) or not isinstance(result["dream"], bool):
            raise ValueError
        if not all(math.isclose(result[name], value, rel_tol=1e-6, abs_tol=1e-9) for name, value in figures.items()):
            raise ValueError
        terms_of(result, {})
    return result


def own_result(run: Path) -> dict[str, Any] | None:
    """What `test.json` holds; None where there is none, or it is damaged."""
    return _read(run / "test.json")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _place(own: Path, new: Terms, own_dream: Mapping[str, Any]) -> tuple[Path, str | None]:
    """Where a result belongs, and what is to be told about it."""
    named, result = own.with_name(new.file_name), _read(own)
    if new.policy != CONTROLLER and has_checkpoint(controller_folder(own.parent), "best"):
        return named, f"{own} is for the run's C; the result of the policy {new.policy} is in {named}."
    if result is None:
        return own, None
    old = terms_of(result, own_dream)
    if _gives_way(old, new):
        aside = own.with_name(old.file_name)
        with explained_os_errors(aside):
            own.replace(aside)
        return own, f"{own} held another test of {old}; it is in {aside} now."
    if not _is_same(old.of, new.of) or (_same(old, new) and old.num_episodes <= new.num_episodes):
        return own, None
    return named, f"{own} keeps its {old}; these {new} are in {named}."


def _gives_way(old: Terms, new: Terms) -> bool:
    """Whether the old result is no score of this C as it is: of a policy without models, or under other limits."""
    if old.policy != CONTROLLER:
        return new.policy == CONTROLLER
    return _is_same(old.of, new.of) and bool(old.limits) and not new.limits


def _whose(result: Result) -> tuple[str | None, str | None]:
    return result["controller"], result.get("agent")


def _is_same(old: tuple[str | None, str | None], new: tuple[str | None, str | None]) -> bool:
    """Whether two results are of the same C, with the same V and M as far as both tell."""
    return old[0] == new[0] and (None in (old[1], new[1]) or old[1] == new[1])


def _same(old: Terms, new: Terms) -> bool:
    return (old.policy, old.seed, old.limits) == (new.policy, new.seed, new.limits)


def _read(path: Path) -> dict[str, Any] | None:
    with suppress(VmcError):
        return read_result(path)
    return None
