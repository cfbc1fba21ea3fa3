"""Which file the result of a test goes to: no better one is lost, and the reader is told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import TOY, ToyRun, toy_settings

from vmc.stages.evaluate import evaluate_and_keep, evaluate_temperatures
from vmc.stages.results import Kept, keep, keep_table, own_result

OWN_DREAM = {"temperature": 1.15, "horizon": 300, "sample_termination": False, "termination_threshold": 0.15}


def _result(episodes: int, controller: str | None = "c1", dream: bool = False, **config: Any) -> dict[str, Any]:
    values = {"policy": "controller" if controller else "random", "seed": 0, "max_steps": None, **config}
    rows = [{"seed": number, "episode_return": 1.0, "episode_length": 2} for number in range(episodes)]
    figures = {"mean": 1.0, "std": 0.0, "ci95": [1.0, 1.0], "min": 1.0, "max": 1.0}
    facts = {"env": TOY, "versions": {"vmc": "0"}}
    return {"episodes": rows, "dream": dream, "controller": controller, "config": values, **figures, **facts}


def _keep(result: dict[str, Any], run: Path) -> Kept:
    return keep(result, run, OWN_DREAM)


def _episodes(path: Path) -> int:
    return len(json.loads(path.read_text())["episodes"])


def test_the_first_result_is_the_runs_own(tmp_path: Path) -> None:
    assert _keep(_result(5), tmp_path) == (tmp_path / "test.json", None)
    assert _keep(_result(5, dream=True), tmp_path) == (tmp_path / "test-dream.json", None)
    assert own_result(tmp_path) == _result(5)


@pytest.mark.parametrize(
    ("second", "name"),
    [
        (_result(20), "test-20-episodes.json"),
        (_result(100, seed=1), "test-100-episodes-seed-1.json"),
        (_result(200, max_steps=50), "test-200-episodes-max-steps-50.json"),
    ],
)
def test_a_better_result_of_the_same_c_stays_and_is_told(second: dict[str, Any], name: str, tmp_path: Path) -> None:
    _keep(_result(100), tmp_path)
    path, note = _keep(second, tmp_path)
    assert path == tmp_path / name
    assert _episodes(tmp_path / "test.json") == 100
    assert _episodes(path) == len(second["episodes"])
    assert note is not None
    assert f"{tmp_path / 'test.json'} keeps its 100 episodes; these" in note
    assert note.endswith(f"are in {path}.")


@pytest.mark.parametrize("second", [_result(100), _result(150), _result(2, controller="c2")])
def test_more_episodes_or_another_c_take_the_place(second: dict[str, Any], tmp_path: Path) -> None:
    _keep(_result(100), tmp_path)
    assert _keep(second, tmp_path) == (tmp_path / "test.json", None)
    assert own_result(tmp_path) == second
    assert len(list(tmp_path.iterdir())) == 1


def test_a_test_under_other_limits_gives_way_under_its_own_name(tmp_path: Path) -> None:
    _keep(_result(100, max_steps=5), tmp_path)
    path, note = _keep(_result(10), tmp_path)
    assert path == tmp_path / "test.json"
    assert note is not None
    assert "test-100-episodes-max-steps-5.json" in note
    assert _episodes(tmp_path / "test-100-episodes-max-steps-5.json") == 100


def test_the_runs_own_dream_takes_the_place_of_another(tmp_path: Path) -> None:
    """What is given and is as in the search is no other limit."""
    _keep(_result(9, dream=True, temperature=0.5), tmp_path)
    assert _keep(_result(9, dream=True), tmp_path).path == tmp_path / "test-dream.json"
    assert _episodes(tmp_path / "test-dream-9-episodes-temperature-0.5.json") == 9
    assert _keep(_result(9, dream=True, temperature=1.15), tmp_path) == (tmp_path / "test-dream.json", None)
    again = _keep(_result(9, dream=True, temperature=2.0), tmp_path)
    assert again.path == tmp_path / "test-dream-9-episodes-temperature-2.0.json"


def test_a_policy_without_models_is_no_score_of_a_runs_c(tmp_path: Path) -> None:
    (tmp_path / "controller").mkdir()
    (tmp_path / "controller" / "best.json").touch()
    path, note = _keep(_result(100, controller=None), tmp_path)
    assert path == tmp_path / "test-random-100-episodes.json"
    assert note is not None
    assert "is for the run's C" in note
    assert not (tmp_path / "test.json").exists()


def test_a_folder_without_c_holds_a_policys_score_until_it_has_one(tmp_path: Path) -> None:
    """As the row `random` of the ablation."""
    assert _keep(_result(100, controller=None), tmp_path) == (tmp_path / "test.json", None)
    other = _keep(_result(100, controller=None, policy="brownian"), tmp_path)
    assert other.path == tmp_path / "test-brownian-100-episodes.json"
    assert _keep(_result(2), tmp_path).path == tmp_path / "test.json"
    assert _episodes(tmp_path / "test-random-100-episodes.json") == 100


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"episodes": 3}', '{"dream": false, "config": []}'])
def test_a_damaged_result_is_replaced(text: str, tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text(text)
    assert own_result(tmp_path) is None
    assert _keep(_result(2), tmp_path) == (tmp_path / "test.json", None)


def _table(*temperatures: float, controller: str = "c1", episodes: int = 10, seed: int = 0) -> list[dict[str, Any]]:
    config = {"episodes": episodes, "seed": seed}
    return [{"temperature": each, "controller": controller, "config": config} for each in (*temperatures, None)]


def test_a_table_of_temperatures_stays_where_the_new_one_tells_less(tmp_path: Path) -> None:
    own = tmp_path / "test-temperatures.json"
    assert keep_table(_table(0.5, 1.0), tmp_path) == (own, None)
    assert keep_table(_table(0.5, 1.0, 1.5, episodes=20), tmp_path) == (own, None)
    for lesser, name in (
        (_table(0.5), "test-temperatures-0.5-10-episodes.json"),
        (_table(0.5, 1.0, 1.5, episodes=4), "test-temperatures-0.5-1-1.5-4-episodes.json"),
        (_table(0.5, 1.0, 1.5, episodes=20, seed=3), "test-temperatures-0.5-1-1.5-20-episodes-seed-3.json"),
    ):
        path, note = keep_table(lesser, tmp_path)
        assert path == tmp_path / name
        assert note is not None
        assert "keeps its temperatures 0.5, 1, 1.5, 20 episodes" in note
    assert keep_table(_table(2.0, controller="c2", episodes=2), tmp_path) == (own, None)


def test_a_run_that_cannot_be_written_is_tested_all_the_same(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal of its episodes is left out, too."""
    write_text = Path.write_text

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if toy.run in path.parents:
            raise PermissionError(13, os.strerror(13))
        return write_text(path, *args, **options)

    monkeypatch.setattr(Path, "write_text", refuse)
    before = sorted(toy.run.iterdir())
    result, kept = evaluate_and_keep(toy_settings("test", episodes=3), toy.data, toy.run, "cpu", 0)
    assert len(result["episodes"]) == 3
    assert kept.path is None
    assert kept.note is not None
    assert f"The result is not kept. Cannot write {toy.run / 'test.json'}: permission denied." in kept.note
    assert "--json" in kept.note
    _, table = evaluate_temperatures(toy_settings("test", episodes=2), [0.5, 1.0], toy.data, toy.run, "cpu", 0)
    assert table.path is None
    assert sorted(toy.run.iterdir()) == before


def test_a_policys_episodes_are_those_of_one_environment(toy: ToyRun, tmp_path: Path) -> None:
    """A half-finished test of C is not lost by a test of another policy, and a journal is never another env's."""
    from vmc.config import make_settings
    from vmc.stages.settings import EvaluateSettings

    evaluate_and_keep(toy_settings("test", episodes=3), toy.data, toy.run, "cpu", 0)
    journal = (toy.run / "test-episodes.jsonl").read_bytes()
    random = {"policy": "random", "episodes": 2}
    first = evaluate_and_keep(toy_settings("test", **random), toy.data, toy.run, "cpu", 0).result
    assert (toy.run / "test-episodes.jsonl").read_bytes() == journal
    other = make_settings(EvaluateSettings, "CartPole-v1", random)
    second = evaluate_and_keep(other, toy.data, toy.run, "cpu", 0).result
    assert [row["seed"] for row in first["episodes"]] == [row["seed"] for row in second["episodes"]]
    assert first["episodes"] != second["episodes"]
