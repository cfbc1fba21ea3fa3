"""Command-line options made from a settings dataclass: its types, bounds and documentation, written once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from vmc.config import plain_type
from vmc.envs import CARRACING, WORDS, env_slug, join_name, use_official_drawing
from vmc.executors import available_cores
from vmc.recipes import DEFAULT_PRESET, Recipe, find_recipe, is_file_name, open_recipe, preset_of
from vmc.stages.settings import GROUPS, STAGES

Command = TypeVar("Command", bound=Callable[..., Any])
# These are shared options, made by `shared`.
_SHARED = {"env", "seed"}
_FOLDER = click.Path(file_okay=False, path_type=Path)


class GroupedCommand(click.Command):
    """A command whose help lists the common options first, and the others by group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                records.setdefault(getattr(parameter, "group", None) or "Options", []).append(record)
        for group, listed in sorted(records.items(), key=lambda item: _position(item[0])):
            with formatter.section(group):
                formatter.write_dl(listed)


class RunCommand(GroupedCommand):
    """`vmc run`, which points to `--set` where an option of a stage is given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-")
            stages = [stage for stage, kind in STAGES.items() if name.replace("-", "_") in field_help(kind)]
            if not stages:
                raise
            ways = " or ".join(f"--set {stage}.{name}=..." for stage in stages)
            raise click.UsageError(f"{error.format_message()} It belongs to a stage: give {ways}", ctx) from None


class _GroupedOption(click.Option):
    """An option that may stand in a group."""

    def __init__(self, *declarations: Any, group: str | None = None, **kwargs: Any) -> None:
        super().__init__(*declarations, **kwargs)
        self.group = group


def _position(group: str) -> int:
    return ["Options", *GROUPS].index(group)


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
            kwargs |= {"help": documented[field.name], "group": field.metadata.get("group")}
            command = click.option(declaration, default=None, cls=_GroupedOption, **kwargs)(command)
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
    data: bool = True,
    run: bool = True,
    device: bool = True,
    workers: bool = True,
    steps_env: bool = True,
    seed: bool = True,
    reads_run: bool = False,
) -> Callable[[Any], Any]:
    """The options that the stages share; `steps_env` for those that step a real environment.

    The command gets one `recipe`, with its environment and seed, and the folders `data` and `run`. With `reads_run` its
    seed may be another one than the run's.
    """
    options = [*_recipe_options()]
    if seed:
        text = "Of all random streams.  [default: the recipe's, else 0]"
        options.append(click.option("--seed", type=click.IntRange(0), help=text))
    if data:
        options.append(click.option("--data", type=_FOLDER, help="The episodes' folder.  [default: data/<env>]"))
    if run:
        options.append(click.option("--run", type=_FOLDER, help="The run's folder.  [default: results/<env>]"))
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
        command = _with_recipe(command, reads_run)
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _recipe_options() -> Iterable[Callable[[Any], Any]]:
    text = "A Gymnasium id, or module:Id-v0.  [default: the recipe's, else CarRacing-v3]"
    yield click.option("--env", help=text)
    text = "An argument of the environment, e.g. continuous=False. May be given again."
    yield click.option("--env-kwargs", multiple=True, metavar="NAME=VALUE", help=text)
    for word, text in WORDS.items():
        yield click.option(f"--{word}", is_flag=True, help=f"{text[0].upper()}{text[1:]}.")
    text = "The shipped recipe for the environment: smoke, laptop, dream, paper ...  [default: laptop]"
    yield click.option("--preset", metavar="NAME", help=text)
    text = "A recipe of your own, or one of those that `vmc recipes` lists."
    yield click.option("--recipe", "file_or_name", metavar="FILE_OR_NAME", help=text)


def _with_recipe(command: Callable[..., Any], reads_run: bool = False) -> Callable[..., Any]:
    """Makes one recipe of the options that name it, and the default folders."""

    @functools.wraps(command)
    def with_recipe(
        env: str | None,
        env_kwargs: Sequence[str],
        preset: str | None,
        file_or_name: str | None,
        seed: int | None = None,
        **given: Any,
    ) -> Any:
        if preset and file_or_name:
            raise click.UsageError("--preset and --recipe each name a recipe; give one of them.")
        words = [word for word in WORDS if given.pop(word.replace("-", "_"))]
        own = open_recipe(file_or_name) if file_or_name else None
        env = join_name(env or (own and own.env) or CARRACING, env_kwargs, words)
        recipe = own or find_recipe(preset or DEFAULT_PRESET, env)
        usual_seed, recipe = recipe.seed, recipe.adapted(env, seed)
        name = folder_name(recipe, bool(file_or_name and is_file_name(file_or_name)))
        if recipe.seed != usual_seed:
            of_seed = f"{name}-seed-{recipe.seed}"
            name = name if reads_run and not (Path("results") / of_seed).exists() else of_seed
        for option, root in (("data", "data"), ("run", "results")):
            if option in given:
                given[option] = given[option] or Path(root) / name
        return command(recipe=recipe, **given)

    return with_recipe


def folder_name(recipe: Recipe, is_file: bool = False) -> str:
    """The name of a recipe's folders below `data` and `results`: the environment's, and the preset's or the file's.

    The default preset has the environment's alone. All others have their own, so that a run never goes on from the data
    or the models of another recipe.

    Args:
        is_file: it is a recipe of the user's own.
    """
    assert recipe.env is not None
    preset = preset_of(recipe)
    return env_slug(recipe.env) + ("" if preset == DEFAULT_PRESET and not is_file else f"-{preset}")


def _official(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        use_official_drawing()


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
