"""Command-line options made from a settings dataclass: its types, bounds and documentation, written once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import click

from vmc.config import DEFAULT_PRESET, DREAM_PRESET, PRESETS, plain_type
from vmc.envs import WORDS, env_slug, join_name, use_official_drawing
from vmc.executors import available_cores

Command = TypeVar("Command", bound=Callable[..., Any])
# These are shared options, made by `shared`.
_SHARED = {"env", "seed"}


def settings_options(kind: type, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Adds an option for each field of a settings dataclass, but `without`; options not given arrive as None."""
    documented = field_help(kind)
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.name not in {*_SHARED, *without}]

    def decorate(command: Command) -> Command:
        for field in reversed(fields):
            name = field.name.replace("_", "-")
            base = plain_type(hints[field.name])
            declaration = f"--{name}/--no-{name}" if base is bool else f"--{name}"
            kwargs: dict[str, Any] = {} if base is bool else {"type": _click_type(field, base)}
            command = click.option(declaration, default=None, help=documented[field.name], **kwargs)(command)
        return command

    return decorate


def comma_floats(context: click.Context, parameter: click.Parameter, value: str | None) -> list[float] | None:
    """An option's callback: numbers with commas between them."""
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 0.5,1.0.") from None


def shared(
    data: bool = True, run: bool = True, device: bool = True, workers: bool = True, steps_env: bool = True
) -> Callable[[Any], Any]:
    """The options that the stages share; `steps_env` for those that step a real environment."""
    options = [
        click.option("--env", default="CarRacing-v3", show_default=True, help="A Gymnasium id, or module:Id-v0."),
        click.option(
            "--env-kwargs",
            multiple=True,
            metavar="NAME=VALUE",
            help="An argument of the environment, e.g. continuous=False. May be given again.",
        ),
        *(
            click.option(f"--{word}", is_flag=True, help=f"{text[0].upper()}{text[1:]}.")
            for word, text in WORDS.items()
        ),
        click.option(
            "--preset",
            type=click.Choice(list(PRESETS)),
            default=DEFAULT_PRESET,
            show_default=True,
            help="Where the defaults come from.",
        ),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all random streams."),
    ]
    if data:
        kind = click.Path(file_okay=False, path_type=Path)
        options.append(click.option("--data", type=kind, help="The episodes' folder.  [default: data/<env>]"))
    if run:
        kind = click.Path(file_okay=False, path_type=Path)
        options.append(click.option("--run", type=kind, help="The run's folder.  [default: results/<env>]"))
    if device:
        choice = click.Choice(["auto", "cpu", "cuda"])
        text = "Where V, M and the dream run."
        options.append(click.option("--device", type=choice, default="auto", show_default=True, help=text))
    if workers:
        text = "Worker processes; 0 works in this one.  [default: the number of cores]"
        options.append(click.option("--workers", type=click.IntRange(0), default=available_cores, help=text))

    if steps_env:
        text = "Draw CarRacing with Gymnasium's own code, not with the fast, bit-identical one."
        official = click.option("--official-env", is_flag=True, expose_value=False, callback=_official, help=text)
        options.append(official)

    def decorate(command: Any) -> Any:
        command = _with_joined_name(command)
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _with_joined_name(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hands the command one `env`: the id, its arguments and our words in one name, as the stages keep it."""

    @functools.wraps(command)
    def joined(env: str, env_kwargs: tuple[str, ...], **given: Any) -> Any:
        words = [word for word in WORDS if given.pop(word.replace("-", "_"))]
        return command(env=join_name(env, env_kwargs, words), **given)

    return joined


def _official(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        use_official_drawing()


def folders(env: str, preset: str, data: Path | None, run: Path | None) -> tuple[Path, Path]:
    """The data folder and the run folder, as given or by the environment's name.

    The presets `smoke` and `dream` have their own, so that a trial of a minute never becomes the start of a real run,
    and a C that reality has rewarded never that of one which it must not.
    """
    name = env_slug(env) + (f"-{preset}" if preset in ("smoke", DREAM_PRESET) else "")
    return data or Path("data") / name, run or Path("results") / name


def field_help(kind: type) -> dict[str, str]:
    """Each field's text from the `Attributes:` section of the dataclass's docstring."""
    lines = inspect.cleandoc(kind.__doc__ or "").split("Attributes:\n")[-1]
    found: dict[str, str] = {}
    for names, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n {8}.*)*)", lines, flags=re.MULTILINE):
        for name in names.split(", "):
            found[name] = re.sub(r"\s+", " ", text)
    return found


def _click_type(field: dataclasses.Field[Any], base: type) -> Any:
    least, above, choices = (field.metadata.get(key) for key in ("least", "above", "choices"))
    if choices is not None:
        return click.Choice(choices)
    if base is int:
        return click.IntRange(min=least)
    if base is float and (least, above) != (None, None):
        return click.FloatRange(min=least if above is None else above, min_open=above is not None)
    return base
