"""A recipe's file: what it may say, and on which line it says what it may not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmc.errors import VmcError
from vmc.recipes import due_stages, load_recipe

GOOD = """\
description = "Two rounds."
env = "CartPole-v1"
seed = 3

[[rounds]]
repeat = 2
[rounds.rollouts]
episodes = 10  # added in each
[rounds.train-vae]
epochs = 1
[[rounds]]
[rounds.train-controller]
generations = 5
seed = 7
"""


def _load(folder: Path, text: str) -> object:
    (folder / "my.toml").write_text(text, encoding="utf-8")
    return load_recipe(folder / "my.toml")


def test_rounds_are_repeated_and_episodes_add_up(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text(GOOD)
    recipe = load_recipe(tmp_path / "good.toml")
    assert (recipe.name, recipe.description, recipe.env, recipe.seed) == ("good", "Two rounds.", "CartPole-v1", 3)
    due = list(due_stages(recipe))
    assert [(round, stage) for round, stage, _ in due] == [
        (0, "rollouts"),
        (0, "train-vae"),
        (1, "rollouts"),
        (1, "train-vae"),
        (2, "train-controller"),
    ]
    assert [due[0].settings.episodes, due[2].settings.episodes] == [10, 20]
    assert [each.settings.seed for each in due] == [3, 3, 3, 3, 7]


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("epochs = 1", "epoch = 1", 10, "train-vae has no option 'epoch'.\n  Did you mean 'epochs'?"),
        ("epochs = 1", "epochs = 0", 10, "train-vae.epochs is 0; it must be at least 1."),
        ("epochs = 1", 'epochs = "many"', 10, "train-vae.epochs is 'many'; it must be of type int."),
        ("epochs = 1", "epochs = true", 10, "train-vae.epochs is True; it must be of type int."),
        ("epochs = 1", "epochs = 1\nlearning_rate = inf", 11, "learning_rate is inf; it must be finite."),
        ("generations = 5", "generations = 5\ninit = 'last'", 14, "init is 'last'; it must be one of best, scratch."),
        ("epochs = 1", "batch_size = 1", 9, "train-vae.epochs is not given."),
        ("epochs = 1", 'epochs = 1\nenv = "CartPole-v1"', 11, "train-vae has no option 'env'."),
        ("[rounds.train-vae]", "[rounds.train-vea]", 9, "a round has no 'train-vea'.\n  Did you mean 'train-vae'?"),
        ("repeat = 2", "repeat = 0", 6, "repeat is 0; it must be at least 1."),
        ("seed = 3", "sede = 3", 3, "a recipe has no 'sede'.\n  Did you mean 'seed'?"),
        ("seed = 3", "seed = -1", 3, "seed is -1; it must be at least 0."),
        ("seed = 3", "[measured]\nscore = 3", 4, "score is 3; it must be of type str."),
        ('env = "CartPole-v1"', 'env = "CartPole-v1,pixel"', 2, "'pixel' is neither NAME=VALUE nor one of"),
        ("generations = 5", "generations 5", 13, "this is no TOML"),
        ("generations = 5", "generations = 5\ngenerations = 6", 14, "this is no TOML"),
        ("generations = 5\nseed = 7", "", 12, "train-controller.generations is not given."),
        ("[rounds.train-controller]\ngenerations = 5\nseed = 7", "", 11, "this round has no stage."),
        ('"Two rounds."', '"""Two\nseed = 1\nrounds."""\nbad = 1', 4, "a recipe has no 'bad'."),
    ],
)
def test_what_is_wrong_is_told_with_its_line(old: str, new: str, line: int, told: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(VmcError) as caught:
        _load(tmp_path, GOOD.replace(old, new, 1))
    assert str(caught.value).startswith(f"{tmp_path / 'my.toml'}, line {line}: ")
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ['description = "Nothing."\n', "rounds = []\n", "[rounds]\n", "rounds = 3\n"])
def test_a_recipe_without_rounds_is_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(VmcError, match=r"my\.toml, line 1: a recipe has one round or more"):
        _load(tmp_path, text)


def test_a_stage_that_is_no_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(VmcError, match="line 2: rollouts is 3; it must be a table of options"):
        _load(tmp_path, "[[rounds]]\nrollouts = 3\n")


def test_stages_may_be_written_inline(tmp_path: Path) -> None:
    with pytest.raises(VmcError, match="line 2: rollouts has no option 'episode'"):
        _load(tmp_path, "[[rounds]]\nrollouts = { episode = 3 }\n")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(VmcError, match=re.escape(str(tmp_path / "no.toml"))):
        load_recipe(tmp_path / "no.toml")


def test_a_recipe_for_any_environment_runs_nowhere(tmp_path: Path) -> None:
    recipe = load_recipe(_written(tmp_path, "[[rounds]]\n[rounds.rollouts]\nepisodes = 3\n"))
    with pytest.raises(VmcError, match="for any environment"):
        next(due_stages(recipe))
    assert next(due_stages(recipe.adapted(env="CartPole-v1"))).settings.env == "CartPole-v1"


def _written(folder: Path, text: str) -> Path:
    (folder / "any.toml").write_text(text)
    return folder / "any.toml"
