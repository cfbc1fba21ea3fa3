"""What a results folder says about its runs, and how a run ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from vmc.cli import main
from vmc.recipes import find_recipe
from vmc.runs import ending, env_of, find_runs, known_environments, random_score
from vmc.stages.evaluate import summary

RESULTS = Path(__file__).parents[1] / "results"


def _test_file(run: Path, mean: float, policy: str = "controller", env: str = "CarRacing-v3") -> None:
    run.mkdir(parents=True)
    returns = [mean - 1, mean + 1]
    content: dict[str, Any] = {
        "env": env,
        "episodes": [{"seed": n, "episode_return": each, "episode_length": 9} for n, each in enumerate(returns)],
        **summary(returns),
        "dream": False,
        "controller": None,
        "config": {"policy": policy, "seed": 0},
        "versions": {},
    }
    (run / "test.json").write_text(json.dumps(content))


def test_the_shipped_runs_are_found() -> None:
    """In this repository: agents with weights, and rows of tables without."""
    runs = {run.path.relative_to(RESULTS).as_posix(): run for run in find_runs(RESULTS)}
    assert runs["carracing"].models == ("V", "M", "C")
    assert runs["take-cover"].env == "VizdoomTakeCover-v1"
    assert runs["ablation/random"].score is not None
    assert runs["ablation/random"].score.policy == "random"
    assert runs["laptop"].models == ()


def test_an_environment_is_that_of_v_or_of_the_recipe_or_of_the_test(tmp_path: Path) -> None:
    assert env_of(tmp_path) is None
    _test_file(tmp_path / "tested", 1.0, env="CartPole-v1")
    assert env_of(tmp_path / "tested") == "CartPole-v1"
    (tmp_path / "tested" / "recipe.toml").write_text('env = "Pendulum-v1"\n[[rounds]]\nrollouts.episodes = 3\n')
    assert env_of(tmp_path / "tested") == "Pendulum-v1"
    (tmp_path / "tested" / "recipe.toml").write_text("no recipe")
    assert env_of(tmp_path / "tested") == "CartPole-v1"


def test_a_random_policys_score_is_that_of_a_test_or_of_the_table(tmp_path: Path) -> None:
    assert random_score("CarRacing-v3", tmp_path) is None
    (tmp_path / "environments.json").write_text(json.dumps([{"env": "CarRacing-v3", "random": {"mean": -20.0}}]))
    assert random_score("CarRacing-v3", tmp_path) == -20.0
    _test_file(tmp_path / "ablation" / "random", -30.0, "random")
    assert random_score("CarRacing-v3", tmp_path) == -30.0


def test_the_end_of_a_run_compares_and_says_what_comes_next(tmp_path: Path) -> None:
    _test_file(tmp_path / "random", -30.0, "random")
    (tmp_path / "agent").symlink_to(RESULTS / "carracing")
    run = tmp_path / "mine"
    (run / "vae").mkdir(parents=True)
    (run / "vae" / "reconstructions.png").touch()
    lines = list(ending(find_recipe("real", "CarRacing-v3"), tmp_path / "data", run))
    text = "\n".join(lines)
    agent = f"the agent in {tmp_path / 'agent'} 903.9"
    assert f"For comparison: a random policy -30.0, {agent}, the paper 906 ± 21." in lines
    assert f"Pictures: {run / 'vae' / 'reconstructions.png'}" in text
    assert f"  vmc play {run}" in lines
    assert f"  vmc report {run}" in lines
    assert "  vmc run --preset laptop" in lines
    assert "means nothing" not in text


def test_smoke_says_that_its_score_means_nothing(tmp_path: Path) -> None:
    places = ["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run"), "--workers", "0"]
    result = CliRunner().invoke(main, ["run", "--preset", "smoke", "--env", "CartPole-v1", *places])
    assert result.exit_code == 0, result.stderr
    assert "its score means nothing" in result.stdout
    assert f"The run is in {tmp_path / 'run'}" in result.stdout
    assert "vmc run --env CartPole-v1 --preset laptop" in result.stdout
    assert "--video" not in result.stdout  # V sees vectors


@pytest.mark.parametrize(("name", "presets"), [("CarRacing-v3", {"laptop", "dream"}), ("any", {"smoke", "paper"})])
def test_known_environments_have_their_presets(name: str, presets: set[str]) -> None:
    known = {each.name: each for each in known_environments()}
    assert presets <= set(known[name].presets)
