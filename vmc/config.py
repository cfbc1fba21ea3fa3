"""Settings: what a field of a settings dataclass may be, and the presets that give their values."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from vmc.errors import VmcError

Settings = TypeVar("Settings")
Values = Mapping[str, Any]


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


# A preset gives values to the settings of each stage; an option beats it; the dataclass's default is the last word.
# For `vmc run`: how many rounds there are, and in how many of them V is trained; what differs from the second round on
# (`episodes` are those added in each); and, on top of that, in the last ones: phases of so many rounds each. For
# `vmc ablate`: what differs in a search in reality from nothing.
PRESETS: dict[str, dict[str, Any]] = {
    # Does everything work? Half a minute on 2 cores.
    "smoke": {
        "rollouts": {"episodes": 8, "max_steps": 150},
        "train-vae": {"epochs": 8},
        "train-mdrnn": {"epochs": 15, "batch_size": 4},
        "train-controller": {
            "generations": 4,
            "population_size": 8,
            "rollouts_per_candidate": 1,
            "validate_every": 2,
            "validation_episodes": 2,
            "max_steps": 100,
            "horizon": 100,
        },
        "test": {"episodes": 4, "max_steps": 300},
        "rounds": {"default": 1, "vae": 2},
        "later-rounds": {"rollouts": {"episodes": 4}},
        "last-rounds": [],
        "real-search": {},
    },
    # Something that works, on 2 cores and no GPU. The tasks in `vmc/envs/task.py` have values of their own.
    "laptop": {
        "rollouts": {"episodes": 40},
        "train-vae": {"epochs": 5},
        "train-mdrnn": {"epochs": 60},
        "train-controller": {
            "generations": 25,
            "population_size": 32,
            "rollouts_per_candidate": 3,
            "validation_episodes": 16,
        },
        "test": {"episodes": 100},
        "rounds": {"default": 1, "vae": 2},
        "later-rounds": {"rollouts": {"episodes": 40}},
        "last-rounds": [],
        "real-search": {},
    },
    # The paper's own numbers: 64 cores and days.
    "paper": {
        "rollouts": {"episodes": 10_000, "policy": "random"},
        "train-vae": {
            "epochs": 10,
            "patience": 10,
            "batch_size": 100,
            "learning_rate": 1e-4,
            "final_lr_fraction": 1.0,
            "active_threshold": 0.0,
        },
        "train-mdrnn": {"epochs": 20, "patience": 20, "batch_size": 100, "window": 1000, "final_lr_fraction": 1.0},
        "train-controller": {
            "generations": 1800,
            "population_size": 64,
            "rollouts_per_candidate": 16,
            "validate_every": 25,
            "validation_episodes": 1024,
        },
        "test": {"episodes": 100},
        "rounds": {"default": 1, "vae": 1000},
        "later-rounds": {"rollouts": {"episodes": 10_000}},
        "last-rounds": [],
        "real-search": {},
    },
}
# As `laptop`, but the real environment never rewards C: it is only looked at, to choose which C is kept.
PRESETS["dream"] = PRESETS["laptop"] | {"train-controller": PRESETS["laptop"]["train-controller"] | {"dream": True}}
DEFAULT_PRESET, DREAM_PRESET = "laptop", "dream"


def make_settings(kind: type[Settings], env: str, *layers: Values) -> Settings:
    """A settings object from layers of values, the later ones winning; a value of None is not given.

    Raises:
        VmcError: a value that is out of bounds, of the wrong type, or of an unknown name.
    """
    values: dict[str, Any] = {"env": env}
    for layer in layers:
        values |= {name: value for name, value in layer.items() if value is not None}
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in fields:
            raise VmcError(f"{kind.__name__} has no setting {name!r}.", did_you_mean(name, fields))
        values[name] = _checked(fields[name], plain_type(hints[name]), value)
    return kind(**values)


def did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    """A hint with the nearest known name, or with all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(known)}."


def plain_type(hint: Any) -> type:
    """`int` from `int | None`."""
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    assert isinstance(hint, type)
    return hint


def _checked(field: dataclasses.Field[Any], kind: type, value: Any) -> Any:
    name = field.name.replace("_", "-")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise VmcError(f"{name} is {value!r}; it must be of type {kind.__name__}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise VmcError(f"{name} is {value}; it must be finite.")
    least, above, choices = (field.metadata.get(key) for key in ("least", "above", "choices"))
    if choices is not None and value not in choices:
        raise VmcError(f"{name} is {value!r}; it must be one of {', '.join(choices)}.")
    if least is not None and not value >= least:
        raise VmcError(f"{name} is {value}; it must be at least {least}.")
    if above is not None and not value > above:
        raise VmcError(f"{name} is {value}; it must be above {above}.")
    return value
