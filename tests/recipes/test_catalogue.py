"""Which recipe a name finds: the shipped ones, and those of other packages."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import pytest

from vmc.envs import TASKS
from vmc.errors import VmcError
from vmc.recipes import add_recipes, catalogue, find_recipe, find_specific, open_recipe, preset_of

ANY = "[[rounds]]\n[rounds.rollouts]\nepisodes = {}\n"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of recipes, known until the test ends."""
    monkeypatch.setattr(catalogue, "_FOLDERS", [*catalogue._FOLDERS])
    (tmp_path / "recipes").mkdir()
    add_recipes(tmp_path / "recipes")
    return tmp_path / "recipes"


@pytest.mark.parametrize(
    ("preset", "env", "name"),
    [
        ("laptop", "CarRacing-v3", "carracing-v3-laptop"),
        ("laptop", "CarRacing", "carracing-v3-laptop"),
        ("laptop", "vmc/FastCarRacing-v3", "carracing-v3-laptop"),
        ("laptop", "CarRacing-v3,lap_complete_percent=0.9", "carracing-v3-laptop"),
        ("laptop", "CarRacing-v3,continuous=False", "carracing-v3-continuous-false-laptop"),
        ("real", "CarRacing-v3,continuous=False", "carracing-v3-real"),
        ("paper", "CarRacing-v3", "paper"),
        ("paper", "VizdoomTakeCover-v1", "vizdoomtakecover-v1-paper"),
        ("paper", "vmc/VizdoomTakeCover-v1", "vizdoomtakecover-v1-paper"),
        ("laptop", "CartPole-v1,pixels", "cartpole-v1-laptop"),
        ("laptop", "vmc/Toy-v0", "laptop"),
        ("dream", "Acrobot-v1", "dream"),
        ("smoke", "CarRacing-v3", "smoke"),
    ],
)
def test_the_environments_own_recipe_comes_before_that_for_any(preset: str, env: str, name: str) -> None:
    found = find_recipe(preset, env)
    assert (found.name, found.env) == (name, env)


def test_an_unknown_preset_is_told_with_those_that_there_are() -> None:
    with pytest.raises(VmcError, match="There is no recipe 'laptpo' for CartPole-v1"):
        find_recipe("laptpo", "CartPole-v1")
    with pytest.raises(VmcError, match="There are: dream, laptop, paper, quick, real, smoke"):
        find_recipe("huge", "CarRacing-v3")
    with pytest.raises(VmcError, match="no recipe 'real' for CartPole-v1"):
        find_recipe("real", "CartPole-v1")
    with pytest.raises(VmcError, match="no recipe 'carracing-v3-dream' for CartPole-v1"):
        find_recipe("carracing-v3-dream", "CartPole-v1")
    assert find_specific("paper", "CartPole-v1") is None


def test_a_recipe_is_opened_by_its_name_or_its_file(tmp_path: Path) -> None:
    assert open_recipe("carracing-v3-dream").env == "CarRacing-v3"
    (tmp_path / "mine.toml").write_text(ANY.format(3))
    assert open_recipe(str(tmp_path / "mine.toml")).options("rollouts") == {"episodes": 3}
    with pytest.raises(VmcError, match="Did you mean 'carracing-v3-dream'"):
        open_recipe("carracing-v3-draem")


@pytest.mark.parametrize(
    ("name", "preset"),
    [("carracing-v3-dream", "dream"), ("carracing-v3-continuous-false-laptop", "laptop"), ("paper", "paper")],
)
def test_the_preset_of_a_recipe_is_its_name_without_the_environment(name: str, preset: str) -> None:
    recipe = open_recipe(name)
    assert preset_of(recipe) == preset
    assert preset_of(recipe.adapted(env=recipe.env or "CarRacing-v3")) == preset


OWN_MODULE = """
from pathlib import Path
import gymnasium as gym
from vmc import Task, add_recipes, add_task

gym.register("OwnCart-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=20)
add_task("OwnCart-v0", Task(hidden_size=16))
add_recipes(Path(__file__).parent / "recipes")
"""


def test_a_package_ships_an_environment_with_its_recipes(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own.parent / "own_cart.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(own.parent)
    monkeypatch.setitem(TASKS, "OwnCart-v0", TASKS["CartPole-v1"])  # so that it is removed again
    (own / "owncart-v0-laptop.toml").write_text(ANY.format(7))
    (own / "owncart-v0-quick.toml").write_text(ANY.format(2))
    name = "own_cart:OwnCart-v0"
    try:
        assert find_recipe("laptop", name).options("rollouts") == {"episodes": 7}
        assert find_recipe("laptop", f"{name},pixels").options("rollouts") == {"episodes": 7}
        assert find_recipe("quick", name).env == name
        assert preset_of(find_recipe("quick", name)) == "quick"
        assert find_recipe("paper", name).options("rollouts")["episodes"] == 10_000
    finally:
        gym.registry.pop("OwnCart-v0", None)


def test_a_recipe_that_is_added_comes_before_the_shipped_one(own: Path) -> None:
    (own / "cartpole-v1-laptop.toml").write_text(ANY.format(5))
    assert find_recipe("laptop", "CartPole-v1").options("rollouts") == {"episodes": 5}
    add_recipes(own)
    assert catalogue._FOLDERS.count(own) == 1


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(VmcError, match="There is no folder"):
        add_recipes(tmp_path / "nowhere")
