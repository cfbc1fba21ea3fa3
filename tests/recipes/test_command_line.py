"""`vmc recipes`, and what `--recipe` and `--preset` do to a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import TOY

from vmc.cli import main
from vmc.options import folder_name
from vmc.recipes import find_recipe, load_recipe, recipe_files
from vmc.storage.rollouts import RolloutDataset

MINE = """\
description = "Mine."
env = "vmc/Toy-v0"
seed = 4

[[rounds]]
[rounds.rollouts]
episodes = 5
max_steps = 9
[[rounds]]
[rounds.rollouts]
episodes = 2
max_steps = 9
"""


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(MINE)
    return tmp_path / "mine.toml"


def test_recipes_are_listed_with_their_scores() -> None:
    result = _run("recipes")
    assert result.exit_code == 0, result.stderr
    assert "carracing-v3-dream: CarRacing-v3" in result.stdout
    assert "858 ± 70 over 100 episodes, 1 h 11 min, 976,092 real frames" in result.stdout
    assert "smoke: any environment" in result.stdout
    assert all(f"{name}: " in result.stdout for name in recipe_files())


def test_show_prints_a_file_to_start_from(tmp_path: Path) -> None:
    result = _run("recipes", "show", "carracing-v3-dream")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == recipe_files()["carracing-v3-dream"].read_text()
    told = _run("recipes", "show", "carracing-v3-draem")
    assert told.exit_code == 1
    assert "Did you mean 'carracing-v3-dream'?" in told.stderr


def test_a_recipe_of_ones_own_is_run_in_folders_of_its_name(mine: Path) -> None:
    result = _run("run", "--recipe", "mine.toml", "--workers", "0")
    assert result.exit_code == 0, result.stderr
    dataset = RolloutDataset(Path("data/vmc-toy-v0-mine"))
    assert len(dataset.episodes) == 7
    kept = load_recipe("results/vmc-toy-v0-mine/recipe.toml")
    assert (kept.env, kept.seed, kept.description) == (TOY, 4, "Mine.")
    assert kept.options("rollouts")["action_noise"] == 0.7

    # What is given beats the recipe, and is kept.
    places = ["--data", "data/again", "--run", "results/again", "--workers", "0"]
    given = ["--seed", "5", "--set", "rollouts.max_steps=3"]
    assert _run("run", "--recipe", "results/vmc-toy-v0-mine/recipe.toml", *given, *places).exit_code == 0
    again = load_recipe("results/again/recipe.toml")
    assert again.seed == 5
    assert [stages["rollouts"]["max_steps"] for stages in again.rounds] == [3, 3]
    assert [stages["rollouts"]["episodes"] for stages in again.rounds] == [5, 2]
    records = json.loads(Path("results/again/run.json").read_text())
    assert [record["settings"]["episodes"] for record in records] == [5, 7]


def test_a_stage_alone_takes_its_options_from_the_first_round_that_has_it(mine: Path) -> None:
    command = ["rollouts", "--recipe", "mine.toml", "--workers", "0"]
    assert _run(*command).exit_code == 0
    assert _run(*command, "--episodes", "6").exit_code == 0
    dataset = RolloutDataset(Path("data/vmc-toy-v0-mine"))
    assert len(dataset.episodes) == 6  # the folder holds as many in the end
    assert {source.policy["max_steps"] for source in dataset.sources.values()} == {9}
    told = _run("train-mdrnn", "--recipe", "mine.toml")
    assert told.exit_code == 1
    assert "train-mdrnn.epochs is not given" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--recipe", "none.toml"], "none.toml cannot be read"),
        (["--recipe", "carracing-v3-draem"], "Did you mean 'carracing-v3-dream'?"),
        (["--preset", "huge"], "There is no recipe 'huge' for CarRacing-v3."),
        (["--recipe", "mine.toml", "--set", "train-vae.epochs=3"], "The recipe mine has no stage 'train-vae'."),
        (["--recipe", "mine.toml", "--set", "rollouts.episode=3"], "Did you mean 'episodes'?"),
    ],
)
def test_what_is_wrong_is_told_before_any_work(arguments: list[str], told: str, mine: Path) -> None:
    result = _run("run", *arguments)
    assert result.exit_code == 1
    assert told in result.stderr
    assert [path.name for path in mine.parent.iterdir()] == ["mine.toml"]


@pytest.mark.parametrize(
    ("preset", "env", "folder"),
    [
        ("laptop", "CarRacing-v3", "carracing-v3"),
        ("laptop", "CartPole-v1,pixels", "cartpole-v1-pixels"),
        ("dream", "CarRacing-v3", "carracing-v3-dream"),
        ("smoke", "vmc/Toy-v0", "vmc-toy-v0-smoke"),
        ("real", "CarRacing-v3", "carracing-v3-real"),
    ],
)
def test_folders_are_named_after_the_environment_and_the_preset(preset: str, env: str, folder: str) -> None:
    assert folder_name(find_recipe(preset, env)) == folder


def test_a_file_that_is_called_like_the_default_preset_has_its_own_folder() -> None:
    assert folder_name(find_recipe("laptop", "CarRacing-v3"), is_file=True) == "carracing-v3-laptop"


def test_help_lists_options_in_groups() -> None:
    text = _run("train-controller", "--help").stdout
    groups = ("Options", "Environment and recipe", "Folders and machine", "Search (CMA-ES)", "Dream", "Advanced")
    positions = [text.index(f"\n{heading}:") for heading in groups]
    assert positions == sorted(positions)
    options, world, places, cma, dream, advanced = (
        text[a:b] for a, b in zip(positions, [*positions[1:], len(text)], strict=True)
    )
    assert "--generations" in options
    assert "--help" in options
    assert "--preset" in world
    assert "--workers" in places
    assert "--population-size" in cma
    assert "--horizon" in dream
    assert "--reward-soft-cap" in advanced
