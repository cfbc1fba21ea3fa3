"""Several seeds of one recipe: folders of their own, and scores that are pooled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TOY, TOY_VALUES

from vmc.cli import main
from vmc.errors import VmcError
from vmc.pipeline import PipelineSettings
from vmc.recipes import Recipe, to_toml
from vmc.seeds import over_seeds, run_seeds, seeded

SHORT = {
    **TOY_VALUES,
    "rollouts": {"episodes": 6},
    "train-vae": {"epochs": 1, "batch_size": 32},
    "train-mdrnn": {"epochs": 2, "batch_size": 4},
    "train-controller": {**TOY_VALUES["train-controller"], "generations": 1},
    "test": {"episodes": 3},
}


def test_two_seeds_are_run_and_pooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.toml").write_text(to_toml(Recipe("short", (SHORT,), "Short.", TOY)))
    command = ["run", "--recipe", "short.toml", "--workers", "0", "--device", "cpu"]
    result = CliRunner().invoke(main, [*command, "--seeds", "0,1"])
    assert result.exit_code == 0, result.stderr
    assert "Seed 1 (2 of 2): results/vmc-toy-v0-short-seed-1" in result.stderr
    assert "mean over 2 seeds" in result.stdout

    pooled = json.loads(Path("results/vmc-toy-v0-short-seeds.json").read_text())
    assert Path("results/vmc-toy-v0-short-seeds.png").read_bytes().startswith(b"\x89PNG")
    tests = [json.loads((Path(row["run"]) / "test.json").read_text()) for row in pooled["seeds"]]
    assert [row["run"] for row in pooled["seeds"]] == ["results/vmc-toy-v0-short", "results/vmc-toy-v0-short-seed-1"]
    assert [row["mean"] for row in pooled["seeds"]] == [test["mean"] for test in tests]
    assert tests[0]["episodes"] != tests[1]["episodes"]
    returns = [episode["episode_return"] for test in tests for episode in test["episodes"]]
    assert pooled["pooled"]["mean"] == pytest.approx(np.mean(returns))
    assert pooled["pooled"]["episodes"] == 6
    low, high = pooled["ci95"]
    assert low < pooled["mean"] < high

    # One seed of them, given alone, is the same run: nothing is left to do.
    before = json.loads(Path("results/vmc-toy-v0-short-seed-1/run.json").read_text())
    again = CliRunner().invoke(main, [*command, "--seed", "1"])
    assert again.exit_code == 0, again.stderr
    assert json.loads(Path("results/vmc-toy-v0-short-seed-1/run.json").read_text()) == before


def test_the_interval_is_students() -> None:
    """scipy.stats.t.interval(0.95, 2, loc=2, scale=1 / sqrt(3)) is (-0.484, 4.484)."""
    found = over_seeds([1.0, 2.0, 3.0])
    assert (found["mean"], found["std"]) == (2.0, 1.0)
    assert found["ci95"] == pytest.approx([-0.484, 4.484], abs=1e-3)
    assert over_seeds([5.0]) == {"mean": 5.0, "std": None, "ci95": None}
    assert over_seeds(list(range(40)))["ci95"][0] == pytest.approx(19.5 - 1.96 * 11.69 / 40**0.5, abs=0.01)


def test_the_recipes_own_seed_keeps_the_folders(tmp_path: Path) -> None:
    settings = PipelineSettings(Recipe("short", (SHORT,), env=TOY, seed=4), tmp_path / "data", tmp_path / "run")
    assert seeded(settings, 4).run == settings.run
    other = seeded(settings, 0)
    assert (other.data, other.run, other.recipe.seed) == (tmp_path / "data-seed-0", tmp_path / "run-seed-0", 0)


def test_a_recipe_without_a_test_is_told(tmp_path: Path) -> None:
    rounds = ({"rollouts": {"episodes": 3}},)
    settings = PipelineSettings(Recipe("short", rounds, env=TOY), tmp_path / "data", tmp_path / "run")
    with pytest.raises(VmcError, match="no stage `test`"):
        run_seeds(replace(settings, workers=0), [0, 1])
    assert not list(tmp_path.iterdir())
