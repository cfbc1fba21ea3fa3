"""Command-line options made from a settings dataclass: its types, bounds and documentation, written once."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from vmc.config import make_settings, plain_type
from vmc.envs import CARRACING, WORDS, env_slug, join_name, use_official_drawing
from vmc.executors import ExecutorSettings, executor_settings
from vmc.recipes import (
    DEFAULT_PRESET,
    Recipe,
    find_recipe,
    first_settings,
    is_file_name,
    open_recipe,
    preset_of,
    settings_toml,
)
from vmc.runs import env_of
from vmc.stages.settings import GROUPS, STAGES
from vmc.storage.metrics import LOGGERS, check_loggers

Command = TypeVar("Command", bound=Callable[..., Any])
# `--workers max`, as many as there are cores.
MAX = "max"
# These are shared options, made by `shared`.
_SHARED = {"env", "seed"}
_FOLDER = click.Path(file_okay=False, path_type=Path)


# Click's own are as long as `INTEGER RANGE`.
_METAVARS = {int: "N", float: "X"}
_COMMON, _WORLD, _PLACES, _PAGE = "Options", "Environment and recipe", "Folders and machine", "Web page"
_WORKERS = "Workers and cluster"
_GROUPS = (_COMMON, _WORLD, _PLACES, _WORKERS, _PAGE, *GROUPS)


class OrderedGroup(click.Group):
    """A group whose help lists the commands in the order in which they were added, each with one whole sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, command.get_short_help_str(limit=1000)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class GroupedCommand(click.Command):
    """A command whose help lists its own options first, and the others by group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        records: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                records.setdefault(getattr(parameter, "group", None) or _COMMON, []).append(record)
        for group, listed in sorted(records.items(), key=lambda item: _GROUPS.index(item[0])):
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


def examples(*commands: str) -> str:
    """The end of a command's help: lines that can be copied. (`\\b` keeps click from joining them.)"""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])


def settings_options(kind: type, without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Adds an option for each field of a settings dataclass, but `without`; options not given arrive as None.

    It also adds `--show-config`, which prints the settings in force in place of running the command. Put it below
    `shared`.
    """
    documented = field_help(kind)
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.name not in {*_SHARED, *without}]

    def decorate(command: Command) -> Command:
        command = _with_show_config(command, kind)
        for field in reversed(fields):
            name = field.name.replace("_", "-")
            base = plain_type(hints[field.name])
            declaration = f"--{name}/--no-{name}" if base is bool else f"--{name}"
            kwargs: dict[str, Any] = {} if base is bool else {"type": _click_type(field, base)}
            if base in _METAVARS:
                kwargs["metavar"] = _METAVARS[base]
            kwargs |= {"help": f"{documented[field.name]}{_default_text(field)}", "group": field.metadata.get("group")}
            command = click.option(declaration, default=None, cls=_GroupedOption, **kwargs)(command)
        return command

    return decorate


def settings_for(kind: type, recipe: Recipe, given: Mapping[str, Any]) -> Any:
    """The settings in force: what is given, else the recipe's option (if a recipe has this stage), else the default."""
    stage = next((stage for stage, known in STAGES.items() if known is kind), None)
    if stage is None:
        return make_settings(kind, str(recipe.env), {"seed": recipe.seed}, given)
    return first_settings(recipe, stage, given)


def _with_show_config(command: Command, kind: type) -> Command:
    text = "Print the settings that this command would use, as TOML, and do nothing else."
    option = click.option("--show-config", is_flag=True, help=text)
    names = {field.name for field in dataclasses.fields(kind)}

    @functools.wraps(command)
    def shown_or_run(show_config: bool, recipe: Recipe, **kwargs: Any) -> Any:
        if not show_config:
            return command(recipe=recipe, **kwargs)
        given = {name: kwargs[name] for name in names & kwargs.keys()}
        # `vmc test` takes several temperatures, one after another.
        given = {name: value[0] if isinstance(value, list) else value for name, value in given.items()}
        settings = settings_for(kind, recipe, given)
        head: dict[str, Any] = {"env": recipe.env}
        for name in ("data", "run", "device"):
            if name in kwargs:
                head[name] = str(kwargs[name]) if isinstance(kwargs[name], Path) else kwargs[name]
        if "workers" in kwargs:
            head |= executor_settings(kwargs["workers"]).given()
        stage = click.get_current_context().command.name
        values = {name: value for name, value in dataclasses.asdict(settings).items() if name != "env"}
        click.echo(settings_toml(head, str(stage), values))
        return None

    return option(shown_or_run)  # type: ignore[return-value]


def _default_text(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return "  [default: the recipe's]"
    if field.default is None:
        return ""  # the sentence says what holds
    name = field.name.replace("_", "-")
    value = {True: name, False: f"no-{name}"}[field.default] if isinstance(field.default, bool) else field.default
    return f"  [default: the recipe's, else {value}]"


def comma_floats(context: click.Context, parameter: click.Parameter, value: str | None) -> list[float] | None:
    """An option's callback: numbers with commas between them."""
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 0.5,1.0.") from None


def comma_seeds(context: click.Context, parameter: click.Parameter, value: str | None) -> list[int]:
    """An option's callback: different whole numbers, at least 0, with commas between them."""
    parts = [] if value is None else value.split(",")
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise click.BadParameter(f"{value!r} is not a list of different seeds such as 0,1,2.")
    return [int(part) for part in parts]


def log_option(command: Command) -> Command:
    """Adds `--log`: a tuple of loggers that are installed."""
    text = "Also send the metrics to this logger (an extra of the same name). May be given again."
    choice = click.Choice([*LOGGERS])
    option = _option("--log", "loggers", multiple=True, type=choice, callback=_installed, help=text, group=_PLACES)
    return option(command)  # type: ignore[no-any-return]


def page_options(command: Command) -> Command:
    """Adds the options of a command that serves a web page: `host`, `port` and `browser`."""
    options = [
        _option("--host", default="127.0.0.1", show_default=True, group=_PAGE, help="Serve the page at this address."),
        _option(
            "--port",
            type=click.IntRange(1, 65535),
            metavar="N",
            group=_PAGE,
            help="Serve the page at this port.  [default: the first free one from 8765 on]",
        ),
        _option(
            "--browser/--no-browser", default=True, group=_PAGE, help="Open the page in a browser.  [default: browser]"
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _installed(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    check_loggers(value)
    return value


def _option(*declarations: str, **kwargs: Any) -> Callable[[Any], Any]:
    return click.option(*declarations, cls=_GroupedOption, **kwargs)


def shared(
    data: bool = True,
    run: bool = True,
    device: bool = True,
    workers: bool = True,
    steps_env: bool = True,
    seed: bool = True,
    run_argument: bool = False,
    reads_run: bool = False,
) -> Callable[[Any], Any]:
    """The options that the stages share; `steps_env` for those that step a real environment.

    The command gets one `recipe`, with its environment and seed, and the folders `data` and `run`.

    Args:
        run_argument: the run can also be given as an argument.
        reads_run: the seed may be another one than the run's.
    """
    options = [*_recipe_options(steps_env)]
    if seed:
        text = "Derive all random streams from this seed.  [default: the recipe's, else 0]"
        options.append(_option("--seed", type=click.IntRange(0), metavar="N", help=text, group=_WORLD))
    if data:
        text = "Keep the episodes in this folder.  [default: data/<the run's name>, else data/<env>]"
        options.append(_option("--data", type=_FOLDER, help=text, group=_PLACES))
    if run:
        text = "Keep the run in this folder.  [default: results/<env>, with -<preset> or -seed-<N> if given]"
        if run_argument:
            text = "Take the run in this folder, as the argument RUN does.  [default: results/<env>]"
            options.append(click.argument("run_path", required=False, type=_FOLDER, metavar="[RUN]"))
        options.append(_option("--run", type=_FOLDER, help=text, group=_PLACES))
    if device:
        choice = click.Choice(["auto", "cpu", "cuda"])
        text = "Run V, M and the dream on this device; `auto` is the GPU if there is one."
        options.append(_option("--device", type=choice, default="auto", show_default=True, help=text, group=_PLACES))
    if workers:
        options += _executor_options()

    def decorate(command: Any) -> Any:
        command = _with_recipe(command, reads_run)
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


class _NumberOrMax(click.IntRange):
    """A number of workers; `max` is None, as in `ExecutorSettings`."""

    name = "number or max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return MAX if value == MAX else super().convert(value, param, ctx)


def _executor_options() -> Iterable[Callable[[Any], Any]]:
    """An option for each field of `ExecutorSettings`."""
    documented = field_help(ExecutorSettings)
    types: dict[str, tuple[Any, str | None]] = {
        "workers": (_NumberOrMax(0), "N|max"),
        "address": (str, "ADDRESS"),
        "gpus_per_worker": (click.FloatRange(0), "X"),
        "job_timeout": (click.FloatRange(0), "SECONDS"),
    }
    for field in dataclasses.fields(ExecutorSettings):
        kind, metavar = types.get(field.name, (click.Choice(field.metadata.get("choices") or ()), None))
        name = f"--{field.name.replace('_', '-')}"
        yield _option(name, type=kind, metavar=metavar, help=documented[field.name], group=_WORKERS)


def _recipe_options(steps_env: bool) -> Iterable[Callable[[Any], Any]]:
    text = "Take this environment: a Gymnasium id, or module:Id-v0.  [default: the recipe's, the run's or CarRacing-v3]"
    yield _option("--env", help=text, group=_WORLD)
    text = "Give the environment an argument, e.g. continuous=False. May be given again."
    yield _option("--env-kwargs", multiple=True, metavar="NAME=VALUE", help=text, group=_WORLD)
    for word, text in WORDS.items():
        yield _option(f"--{word}", is_flag=True, help=f"{text[0].upper()}{text[1:]}.", group=_WORLD)
    if steps_env:
        text = "Draw CarRacing with Gymnasium's own code, not with the fast, bit-identical one."
        yield _option("--official-env", is_flag=True, expose_value=False, callback=_official, help=text, group=_WORLD)
    text = (
        "Use the shipped recipe of this name for the environment: quick, laptop, dream, paper ...; `vmc list` shows "
        "which there are.  [default: laptop]"
    )
    yield _option("--preset", metavar="NAME", help=text, group=_WORLD)
    text = "Use a recipe of your own, or one of those that `vmc recipes` lists.  [default: that of --preset]"
    yield _option("--recipe", "file_or_name", metavar="FILE_OR_NAME", help=text, group=_WORLD)


def _with_recipe(command: Callable[..., Any], reads_run: bool = False) -> Callable[..., Any]:
    """Makes one recipe of the options that name it, and the default folders."""

    @functools.wraps(command)
    def with_recipe(
        env: str | None,
        env_kwargs: Sequence[str],
        preset: str | None,
        file_or_name: str | None,
        seed: int | None = None,
        run_path: Path | None = None,
        **given: Any,
    ) -> Any:
        if preset and file_or_name:
            raise click.UsageError("--preset and --recipe each name a recipe; give one of them.")
        if run_path and given["run"] not in (None, run_path):
            raise click.UsageError(f"The argument names the run {run_path}, and --run names {given['run']}.")
        words = [word for word in WORDS if given.pop(word.replace("-", "_"))]
        run = run_path or given.get("run")
        own = open_recipe(file_or_name) if file_or_name else None
        env = join_name(env or (own and own.env) or (run and env_of(run)) or CARRACING, env_kwargs, words)
        base = own or find_recipe(preset or DEFAULT_PRESET, env)
        recipe = base.adapted(env, seed)
        if "workers" in given:
            asked = {field.name: given.pop(field.name) for field in dataclasses.fields(ExecutorSettings)}
            given["workers"] = _merged(recipe.workers, asked)
        name = folder_name(recipe, bool(file_or_name and is_file_name(file_or_name)))
        if recipe.seed != base.seed:
            of_seed = f"{name}-seed-{recipe.seed}"
            name = name if reads_run and not (Path("results") / of_seed).exists() else of_seed
        if "run" in given:
            given["run"] = run or Path("results") / name
        if "data" in given:
            given["data"] = given["data"] or _data_folder(run, name)
        return command(recipe=recipe, **given)

    return with_recipe


def _merged(of_recipe: ExecutorSettings, asked: Mapping[str, Any]) -> ExecutorSettings:
    """The recipe's settings of workers, with what was asked for in their place."""
    values = {**vars(of_recipe), **{name: value for name, value in asked.items() if value is not None}}
    if values["workers"] == MAX:
        values["workers"] = None
    return ExecutorSettings(**values)


def _data_folder(run: Path | None, name: str) -> Path:
    """The episodes' folder of a run that is given, if it is named like the run; else the default one."""
    of_run = Path("data") / run.name if run else None
    return of_run if of_run and of_run.is_dir() else Path("data") / name


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
