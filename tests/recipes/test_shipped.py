"""The recipes that are shipped: they can be run, do what they say, and claim what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vmc.envs import TASKS, env_slug
from vmc.recipes import due_stages, find_recipe, load_recipe, preset_of, recipe_files

ROOT = Path(__file__).parents[2]
NAMES = sorted(recipe_files())
MEASURED = [name for name in NAMES if load_recipe(recipe_files()[name]).measured]


def test_they_are_in_the_package() -> None:
    assert {"smoke", "laptop", "dream", "paper", "carracing-v3-real"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_expands_to_settings_and_ends_with_a_test(name: str) -> None:
    recipe = load_recipe(recipe_files()[name])
    assert recipe.description
    due = list(due_stages(recipe.adapted(env=recipe.env or "CartPole-v1")))
    assert [stage for _, stage, _ in due][:1] == ["rollouts"]
    assert [(number, stage) for number, stage, _ in due if stage == "test"] == [(len(recipe.rounds) - 1, "test")]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_for_one_environment_is_named_after_it(name: str) -> None:
    recipe = load_recipe(recipe_files()[name])
    if recipe.env is not None:
        assert name == f"{env_slug(recipe.env)}-{preset_of(recipe)}"
        assert find_recipe(preset_of(recipe), recipe.env).rounds == recipe.rounds


@pytest.mark.parametrize("env", [*TASKS, "Acrobot-v1"])
def test_the_dream_preset_never_takes_its_fitness_from_reality(env: str) -> None:
    searches = [due.settings for due in due_stages(find_recipe("dream", env)) if due.stage == "train-controller"]
    assert searches
    assert all(search.dream and search.validate_in == "real" for search in searches)


def test_the_laptop_preset_of_carracing_does_what_was_measured() -> None:
    """The settings of the run in `results/laptop`: every round, its stages, and all episodes so far."""
    due = list(due_stages(find_recipe("laptop", "CarRacing-v3")))
    v, m, c = "train-vae", "train-mdrnn", "train-controller"
    assert [(number, stage) for number, stage, _ in due] == [
        *((0, stage) for stage in ("rollouts", v, m, c)),
        *((1, stage) for stage in ("rollouts", v, m, c)),
        *((2, stage) for stage in ("rollouts", v, m, c)),
        *((3, stage) for stage in ("rollouts", m, c)),
        *((4, stage) for stage in ("rollouts", m, c)),
        *((5, stage) for stage in ("rollouts", m, c, "test")),
    ]
    rollouts = [settings for _, stage, settings in due if stage == "rollouts"]
    assert [each.episodes for each in rollouts] == [300, 380, 460, 540, 620, 700]
    assert [each.policy for each in rollouts] == ["brownian", *["controller"] * 5]
    assert [each.max_steps for each in rollouts] == [200, 500, 500, 500, 500, 700]
    assert [each.action_noise for each in rollouts] == [0.7, 0.3, 0.3, 0.3, 0.3, 0.0]
    assert [settings.epochs for _, stage, settings in due if stage == m] == [20, 8, 8, 8, 8, 20]
    searches = [settings for _, stage, settings in due if stage == c]
    assert [search.generations for search in searches] == [20, 20, 20, 20, 20, 70]
    assert [search.dream for search in searches] == [True] * 5 + [False]
    assert [search.init for search in searches] == ["scratch"] * 6


def test_take_covers_dream_is_its_laptop() -> None:
    laptop, dream = (find_recipe(preset, "VizdoomTakeCover-v1").rounds for preset in ("laptop", "dream"))
    assert laptop == dream


@pytest.mark.parametrize("name", MEASURED)
def test_what_was_measured_stands_in_the_file_that_is_named(name: str) -> None:
    recipe = load_recipe(recipe_files()[name])
    measured = recipe.measured
    assert measured is not None
    assert measured.file is not None
    found = _found(ROOT / measured.file, str(recipe.env))
    digits = len(measured.score.split()[0].partition(".")[2])
    assert measured.score == f"{found['mean']:.{digits}f} ± {found['std']:.{digits}f}"
    assert measured.episodes == found["episodes"]
    assert measured.hours == pytest.approx(found["hours"], rel=0.05)
    assert measured.real_frames == found["real_frames"]


def _found(file: Path, env: str) -> dict[str, Any]:
    """Mean, std, episodes, hours and real frames, by what lies beside the score."""
    content = json.loads(file.read_text())
    if isinstance(content, list):  # a row for each environment
        row = next(row for row in content if row["env"] == env)
        return {**row, "hours": row["seconds"] / 3600, "real_frames": row["real_steps"]}
    records = json.loads((file.parent / "run.json").read_text())
    figures = [record["metrics"] for record in records]
    frames = [each["frames"] for each in figures if "frames" in each][-1]
    steps = [each["real steps"] for each in figures if "real steps" in each][-1]
    seconds = sum(record["seconds"] for record in records)
    counts = {"episodes": len(content["episodes"]), "hours": seconds / 3600, "real_frames": frames + steps}
    return {**content, **counts}
