"""Settings: what a field of a settings dataclass may be, and settings made from layers of values."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from vmc.errors import VmcError

Settings = TypeVar("Settings")
Kind = TypeVar("Kind")
Values = Mapping[str, Any]


class OptionError(VmcError):
    """A value that an option does not take, an option that does not exist, or one that is missing.

    Args:
        option: the field's name.
        problem: what is wrong with it, to be read after its name.
        hint: the next step.
    """

    def __init__(self, option: str, problem: str, hint: str | None = None) -> None:
        super().__init__(f"{option.replace('_', '-')} {problem}", hint)
        self.option = option
        self.what = problem


class UnknownOptionError(OptionError):
    """There is no such option."""


def option(
    default: Any = dataclasses.MISSING,
    *,
    least: float | None = None,
    above: float | None = None,
    choices: Sequence[str] | None = None,
    group: str | None = None,
) -> Any:
    """A dataclass field with the bounds that its command-line option checks.

    Args:
        least: the smallest value allowed.
        above: values must be greater than this.
        choices: the only values allowed.
        group: the heading of the option in `--help`.
    """
    metadata = {"least": least, "above": above, "choices": choices, "group": group}
    return dataclasses.field(default=default, metadata=metadata)


def pick(kind: type, settings: Any, defaults: Any = None) -> dict[str, Any]:
    """The values of `settings` for the fields of another dataclass; those that are None come from `defaults`."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(kind)}
    return {name: getattr(defaults, name) if value is None and defaults else value for name, value in values.items()}


def make_settings(kind: type[Settings], env: str, *layers: Values) -> Settings:
    """A settings object from layers of values, the later ones winning; a value of None is not given.

    Raises:
        OptionError: a value that is out of bounds, of the wrong type, of an unknown name, or missing.
    """
    return make_checked(kind, {"env": env}, *layers)


def make_checked(kind: type[Settings], *layers: Values) -> Settings:
    """The same as `make_settings`, for any dataclass whose fields may be made by `option`.

    Raises:
        OptionError: as `make_settings`.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        values |= {name: value for name, value in layer.items() if value is not None}
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in fields:
            raise UnknownOptionError(name, "is no option.", did_you_mean(name, fields))
        values[name] = _checked(fields[name], plain_type(hints[name]), value)
    for name, field in fields.items():
        if name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise OptionError(name, "is not given.")
    return kind(**values)


def parse_value(text: str) -> Any:
    """Parses a Python literal (`False`, `3`, `0.5`, `None`) or `true`, `false`, `none`; other text stays text."""
    try:
        return ast.literal_eval(text.capitalize() if text in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        return text


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or with all of them."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."


def with_defaults(settings: Any, stored: Values) -> dict[str, Any]:
    """Stored values of such settings (a dataclass); one that is younger than they are had the effect of its default."""
    known = dataclasses.fields(settings)
    return {field.name: field.default for field in known if field.default is not dataclasses.MISSING} | dict(stored)


def changed(name: str, was: Any, now: Any, absent: str = "it is not given") -> str:
    """How a setting differs from what it was: `epochs = 3; now it is 5`.

    Args:
        absent: said of a setting that now has no value.
    """
    before = f"no {name}" if was is None else f"{name} = {was}"
    return f"{before}; now {absent if now is None else f'it is {now}'}"


def plain_type(hint: Any) -> type:
    """`int` from `int | None`, `dict` from `dict[str, int]`."""
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    hint = typing.get_origin(hint) or hint
    assert isinstance(hint, type)
    return hint


def _checked(field: dataclasses.Field[Any], kind: type, value: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise OptionError(field.name, "is a number that is too large.") from None
    if type(value) is not kind:
        raise OptionError(field.name, f"is {value!r}; it must be of type {kind.__name__}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(field.name, f"is {value}; it must be finite.")
    least, above, choices = (field.metadata.get(key) for key in ("least", "above", "choices"))
    if choices is not None and value not in choices:
        raise OptionError(field.name, f"is {value!r}; it must be one of {', '.join(choices)}.")
    if least is not None and not value >= least:
        raise OptionError(field.name, f"is {value}; it must be at least {least}.")
    if above is not None and not value > above:
        raise OptionError(field.name, f"is {value}; it must be above {above}.")
    return value


def check_kind(part: str, name: str, found: Any, contract: type[Kind]) -> type[Kind]:
    """The class behind `module:Class`.

    Raises:
        VmcError: it is no class that can be made, or does not follow the contract.
    """
    if not (inspect.isclass(found) and issubclass(found, contract)):
        raise VmcError(f"{part} of kind {name!r} is no {contract.__name__}.", f"Make it a subclass of {contract!r}.")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise VmcError(f"{part} of kind {name!r} lacks {', '.join(missing)}.", f"See {contract!r}.")
    return found
