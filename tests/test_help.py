"""Help that helps: the commands in order, whole sentences, examples that can be given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from vmc.cli import main
from vmc.options import field_help
from vmc.stages.settings import STAGES, FaithfulnessSettings

ORDER = (
    *("rollouts", "train-vae", "train-mdrnn", "train-controller", "test", "play", "run", "recipes", "list"),
    *("report", "inspect", "faithfulness", "ablate", "export", "bench", "doctor"),
)


def _help(*arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.stderr
    return result.stdout


def _commands() -> Iterator[tuple[str, click.Command]]:
    yield from main.commands.items()
    recipes = main.commands["recipes"]
    assert isinstance(recipes, click.Group)
    yield from ((f"recipes {name}", command) for name, command in recipes.commands.items())


def test_the_commands_stand_in_the_pipelines_order_in_one_line_each() -> None:
    text = _help()
    listed = re.findall(r"^  ([a-z-]+)  +([A-Z].*)$", text.partition("Commands:")[2], flags=re.MULTILINE)
    assert tuple(name for name, _ in listed) == ORDER
    assert all(summary.endswith(".") and not summary.endswith("...") for _, summary in listed)
    assert "_VMC_COMPLETE=bash_source" in text


@pytest.mark.parametrize("name", [name for name, _ in _commands()])
def test_every_option_is_a_full_sentence(name: str) -> None:
    command = dict(_commands())[name]
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help is not None
            sentence = re.sub(r"\s*\[default: .*\]$", "", option.help)
            assert re.fullmatch(r"[A-Z].* .*\.", sentence), f"{name} --{option.name}: {option.help}"


@pytest.mark.parametrize("name", [name for name, _ in _commands()])
def test_the_examples_are_commands_that_can_be_given(name: str) -> None:
    command = dict(_commands())[name]
    assert command.epilog is not None
    lines = [line.strip() for line in command.epilog.splitlines() if line.startswith("  ")]
    assert len(lines) == 2
    assert all(line.startswith(f"vmc {name}") for line in lines)
    assert all(f"  {line}\n" in _help(*name.split()) for line in lines)  # not joined, not wrapped
    for line in lines:
        arguments = shlex.split(line.partition(" > ")[0])[1 + len(name.split()) :]
        known = {declared for option in command.params for declared in option.opts}
        assert all(argument in known for argument in arguments if argument.startswith("--")), line


@pytest.mark.parametrize("kind", [*STAGES.values(), FaithfulnessSettings])
def test_the_attributes_of_settings_are_full_sentences(kind: type) -> None:
    """They are the help of the options."""
    for name, text in field_help(kind).items():
        assert re.fullmatch(r"[A-Z].* .*\.", text), f"{kind.__name__}.{name}: {text}"


def test_options_that_a_command_does_not_use_are_not_offered() -> None:
    assert "--official-env" not in _help("train-vae")
    assert "--workers" not in _help("train-mdrnn")
    assert "--seed" not in _help("report")
    assert "--data" not in _help("report")
    assert "--official-env" in _help("rollouts")


def test_defaults_are_told() -> None:
    text = " ".join(_help("train-vae").split())
    assert "[default: the recipe's, else 64]" in text
    assert "Pass over the training frames at most this often. [default: the recipe's]" in text
    dream = next(option for option in main.commands["train-controller"].params if option.name == "dream")
    assert isinstance(dream, click.Option)
    assert str(dream.help).endswith("[default: the recipe's, else no-dream]")
