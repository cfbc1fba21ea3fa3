"""What a recipe becomes: overrides, all its options, and a file again."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmc.errors import VmcError
from vmc.recipes import Recipe, completed, due_stages, find_recipe, first_settings, load_recipe, to_toml

RECIPE = Recipe(
    'a "quoted" \\ name',
    (
        {"rollouts": {"episodes": 4, "max_steps": 5}},
        {"rollouts": {"episodes": 3, "seed": 9}, "train-vae": {"epochs": 2, "learning_rate": 1e-05}},
        {"rollouts": {"episodes": 3, "seed": 9}, "train-vae": {"epochs": 2, "learning_rate": 1e-05}},
    ),
    description='Drives \u00e9 "here" \\ there.\nAnd there.',
    env="CartPole-v1",
    seed=2,
)


def test_an_override_holds_in_every_round_that_has_the_stage() -> None:
    found = RECIPE.adapted(overrides={"rollouts": {"max_steps": 8}, "train-vae": {"epochs": 1}})
    assert [due.settings.max_steps for due in due_stages(found) if due.stage == "rollouts"] == [8, 8, 8]
    assert [due.settings.epochs for due in due_stages(found) if due.stage == "train-vae"] == [1, 1]
    assert RECIPE.options("rollouts")["max_steps"] == 5
    none = RECIPE.adapted(overrides={"rollouts": {"max_steps": None}})
    assert first_settings(none, "rollouts").max_steps is None


def test_a_seed_that_is_given_is_that_of_every_stage() -> None:
    assert [due.settings.seed for due in due_stages(RECIPE)] == [2, 9, 2, 9, 2]
    assert {due.settings.seed for due in due_stages(RECIPE.adapted(seed=0))} == {0}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"train-mdrnn": {"epochs": 1}}, "has no stage 'train-mdrnn'"),
        ({"train-vae": {"epoch": 1}}, "train-vae has no option 'epoch'.\n  Did you mean 'epochs'?"),
        ({"train-vae": {"epochs": 0}}, "train-vae.epochs is 0"),
        ({"train-vae": {"epochs": None}}, "train-vae.epochs is not given"),
    ],
)
def test_a_wrong_override_is_told(overrides: dict[str, dict[str, object]], told: str) -> None:
    with pytest.raises(VmcError) as caught:
        RECIPE.adapted(overrides=overrides)
    assert told in str(caught.value)


def test_a_stage_alone_has_the_options_of_its_first_round() -> None:
    assert first_settings(RECIPE, "rollouts").max_steps == 5
    assert first_settings(RECIPE, "rollouts", {"max_steps": 6, "policy": None}).max_steps == 6
    with pytest.raises(VmcError, match=r"train-mdrnn\.epochs is not given"):
        first_settings(RECIPE, "train-mdrnn")


@pytest.mark.parametrize("recipe", [RECIPE, find_recipe("laptop", "CarRacing-v3"), find_recipe("paper", "CartPole-v1")])
def test_a_recipe_that_is_written_is_read_as_the_same(recipe: Recipe, tmp_path: Path) -> None:
    for each in (recipe, completed(recipe)):
        path = tmp_path / "written.toml"
        path.write_text(to_toml(each), encoding="utf-8")
        found = load_recipe(path)
        assert found.rounds == each.rounds
        assert (found.description, found.env, found.seed) == (each.description, each.env, each.seed)
        assert list(due_stages(found)) == list(due_stages(recipe))


def test_all_options_are_written_but_those_without_a_value() -> None:
    first = completed(RECIPE).rounds[0]["rollouts"]
    assert first == {"episodes": 4, "policy": "brownian", "action_noise": 0.7, "max_steps": 5}
    assert completed(RECIPE).rounds[1]["rollouts"]["seed"] == 9
    assert to_toml(completed(RECIPE)).count("[[rounds]]") == 2  # equal rounds are written once
