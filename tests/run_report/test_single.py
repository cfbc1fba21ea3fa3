"""The report of one run: all sections, all numbers, and what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ToyRun, toy_settings
from html_page import HtmlPage, assert_loads_nothing
from made_runs import QUICK, RETURNS, a_run, a_test

from vmc.errors import VmcError
from vmc.run_report import report_path, write_comparison, write_report
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.faithfulness import measure_faithfulness
from vmc.stages.settings import FaithfulnessSettings
from vmc.storage.checkpoint import load_checkpoint, save_checkpoint

SECTIONS = (
    *("about", "recipe", "score", "curves", "reconstructions", "film", "faithfulness", "costs", "versions", "repeat"),
)


def _report(run: Path) -> HtmlPage:
    path = write_report(run, report_path(run))
    assert path == run / "report.html"
    page = HtmlPage.read(path)
    assert tuple(name for name in page.texts if name) == SECTIONS
    assert all(text.strip() for text in page.texts.values())
    assert_loads_nothing(page)
    return page


def _damage(run: Path, file: str, text: str) -> None:
    (run / file).parent.mkdir(exist_ok=True)
    (run / file).write_text(text)


def test_a_whole_run_has_all_parts(toy: ToyRun) -> None:
    test = evaluate_controller(toy_settings("test"), toy.data, toy.run, "cpu", 0)
    settings = FaithfulnessSettings("vmc/Toy-v0", controllers=3, episodes=4, dreams=8, horizon=30)
    measure_faithfulness(settings, toy.data, toy.run, "cpu", 0)
    page = _report(toy.run)
    assert [name for name in SECTIONS if page.missing[name]] == ["repeat"]  # the stages were run one by one
    assert page.values[""][:6] == [test["mean"], test["std"], *test["ci95"], test["min"], test["max"]]
    assert [f"{row['episode_return']:,.1f}" for row in test["episodes"]] == [
        row[1] for row in page.tables["score"][0][1:]
    ]
    shas = [row[1] for row in page.tables["versions"][0][1:]]
    assert test["controller"] in shas
    assert "--env vmc/Toy-v0 --episodes 10 --seed 0" in page.texts["repeat"]
    assert page.tags["img"] == 1 + 3 * 5  # the reconstructions, and a strip of three panels, 40 steps long


def test_what_a_bare_run_lacks_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    page = _report(a_run(tmp_path / "run"))
    for name, command in {
        "": "vmc test",
        "about": "vmc train-vae --run",
        "score": "vmc test",
        "curves": "vmc train-controller --run",
        "reconstructions": "vmc train-vae --run",
        "film": "vmc train-vae",
        "faithfulness": "faithfulness.json",
        "costs": "run.json",
        "versions": "vmc train-vae",
        "repeat": "vmc test",
    }.items():
        assert command in " ".join(page.missing[name]), name
    assert "vmc train-mdrnn" in page.missing["curves"][0]
    assert "CarRacing-v3" in page.texts[""]  # by the stage's `config.json`


def test_the_numbers_are_those_of_the_files(tmp_path: Path) -> None:
    test = a_test()
    page = _report(a_run(tmp_path / "run", test, searched=True, recorded=True))
    shown = [test["mean"], test["std"], *test["ci95"], test["min"], test["max"], 1500 + 3000, 4 * 3600]
    assert page.values[""] == shown
    assert "906 ± 21" in page.texts[""]
    assert f"{len(RETURNS)} test episodes" in page.texts[""]
    assert any("Histogram" in alt and f"{test['mean']:.1f}" in alt for alt in page.alts)
    assert "real frames" in page.text
    assert page.tables["costs"][0][-1] == ["all", "", "4 h 0 min", "", "4,500"]
    assert f"{sum(row['episode_length'] for row in test['episodes'])}" in page.texts["costs"]


def test_a_run_without_a_recipe_gets_one_from_its_records(tmp_path: Path) -> None:
    page = _report(a_run(tmp_path / "run", recorded=True))
    table = page.tables["recipe"][0]
    assert table[1:] == [
        ["1", "10 episodes", "2 generations of in the dream"],
        ["2", "5 episodes", "2 generations of in the real environment"],
    ]
    assert "vmc run --recipe again.toml" in page.texts["repeat"]


def test_the_published_quick_run_is_the_shipped_recipe(tmp_path: Path) -> None:
    run = Path(shutil.copytree(QUICK, tmp_path / "quick"))
    page = _report(run)
    assert "shipped recipe quick" in page.texts["recipe"]
    assert f"vmc run --recipe {run}/recipe.toml" in page.texts["repeat"]
    assert "--preset quick --seed 0" in page.texts["repeat"]
    assert len(page.missing["repeat"]) == 1  # its weights are not kept
    stages = page.tables["costs"][1][1:]
    assert len(stages) == len(json.loads((run / "run.json").read_text()))


def test_stages_that_are_still_to_come_are_told(tmp_path: Path) -> None:
    run = Path(shutil.copytree(QUICK, tmp_path / "quick"))
    records = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(records[:-2]))
    told = " ".join(_report(run).missing["about"])
    assert "not finished" in told
    assert "train-controller of round 4, test of round 4" in told
    assert "vmc run --recipe" in told


def test_a_search_that_was_stopped_is_told(toy: ToyRun) -> None:
    latest = load_checkpoint(toy.run / "controller", "latest", "vmc train-controller")
    info = {**latest.info, "finished": False}
    save_checkpoint(toy.run / "controller", "latest", info, latest.weights, latest.state)
    page = _report(toy.run)
    assert (
        f"search for C was stopped on its way. It goes on with:\nvmc train-controller --run {toy.run}"
        in (page.missing["about"][0])
    )
    assert not page.missing["curves"]
    assert "vmc test" in " ".join(page.missing["score"])


def test_options_of_another_version_are_told(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", recorded=True)
    records = json.loads((run / "run.json").read_text())
    records[1]["settings"]["luck"] = 1
    (run / "run.json").write_text(json.dumps(records))
    page = _report(run)
    assert "train-controller has no option 'luck'" in " ".join(page.missing["repeat"])
    assert "luck = 1" in page.texts["recipe"]


def test_a_test_of_weights_that_are_gone_cannot_be_repeated(tmp_path: Path) -> None:
    told = " ".join(_report(a_run(tmp_path / "run", a_test())).missing["repeat"])
    assert "V, M and C are not all here" in told


def test_names_and_texts_are_escaped(tmp_path: Path) -> None:
    name, text = "_ & <img src=x onerror=y> $\\frac$", "<script>alert(1)</script> $x^$ `</code>`"
    run = a_run(tmp_path / name, a_test(), searched=True)
    (run / "recipe.toml").write_text((QUICK / "recipe.toml").read_text().replace("The first run", text))
    page = _report(run)
    assert "img" not in page.tags
    assert name in page.texts[""]
    assert text.replace("`", "") in page.texts["recipe"]
    other = a_run(tmp_path / "other", a_test())
    compared = HtmlPage.read(write_comparison([run, other], tmp_path / "compared.html"))
    assert_loads_nothing(compared)
    assert "img" not in compared.tags
    assert name in compared.texts["carracing-v3"]


def test_another_c_than_the_tested_one_is_told(toy: ToyRun) -> None:
    (toy.run / "test.json").write_text(json.dumps(a_test(env="vmc/Toy-v0")))
    assert "of another C" in " ".join(_report(toy.run).missing["score"])


def test_missing_weights_are_told_and_the_rest_stays(toy: ToyRun) -> None:
    for path in (toy.run / "mdrnn").glob("best-weights-*"):
        path.unlink()
    page = _report(toy.run)
    assert "is missing" in " ".join(page.missing["about"])
    assert "is missing" in " ".join(page.missing["film"])
    assert not page.missing["curves"]


def test_an_environment_that_cannot_be_made_has_no_film(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise VmcError("ViZDoom is not installed.", "pip install it")

    monkeypatch.setattr("vmc.stages.filmstrip.make_env", refuse)
    assert _report(toy.run).missing["film"] == ["\nThere is no film. ViZDoom is not installed. pip install it\n"]


def test_vectors_have_a_table_in_place_of_a_picture(toy: ToyRun) -> None:
    (toy.run / "vae" / "reconstructions.png").unlink()
    content = {"explained_variance": [0.25, None], "latent_size": 2}
    _damage(toy.run, "vae/reconstructions.json", json.dumps(content))
    page = _report(toy.run)
    assert page.tables["reconstructions"][0][1:] == [["1", "25.0"], ["2", "it does not vary"]]


_WRONG = (
    ("mean", float("inf")),
    ("mean", True),
    ("mean", 1e6),  # outside its interval
    ("ci95", [1.0]),
    ("versions", {"vmc": 1}),
    ("episodes", [{"episode_return": float("nan"), "episode_length": 3}]),
)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("test.json", "{"),
        ("test.json", '{"env": "CarRacing-v3"}'),
        ("test.json", "[]"),
        *(("test.json", json.dumps(a_test() | {name: value})) for name, value in _WRONG),
        ("test-dream.json", "3"),
        ("run.json", "nonsense"),
        ("run.json", '[{"round": 0}]'),
        ("run.json", '[{"round": 0, "stage": "test", "seconds": "long", "metrics": {}}]'),
        ("faithfulness.json", "{}"),
        ("vae/reconstructions.json", "[1]"),
        ("vae/reconstructions.png", "no picture"),
        ("vae/best.json", "{}"),
        ("mdrnn/report.json", "[]"),
        ("mdrnn/metrics.jsonl", "{}\n{}\n"),
        ("controller/metrics.jsonl", '{"step": 1}\n'),
        ("controller/metrics.jsonl", "nonsense\n"),
        ("vae/config.json", "nonsense"),
        ("recipe.toml", "nonsense"),
    ],
)
def test_a_damaged_file_is_named(file: str, text: str, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", a_test())
    _damage(run, file, text)
    with pytest.raises(VmcError) as error:
        write_report(run, report_path(run))
    assert str(run / file) in str(error.value)
    assert error.value.hint
    assert not report_path(run).exists()


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    a_run(tmp_path / "results" / "one", a_test())
    for folder in (tmp_path / "results", tmp_path / "results" / "two"):
        with pytest.raises(VmcError, match=r"Runs that are there: .*one") as error:
            write_report(folder, report_path(folder))
        assert str(folder) in error.value.problem
    with pytest.raises(VmcError, match=r"does not end with \.html"):
        write_report(tmp_path / "results" / "one", tmp_path / "report.pdf")


def test_a_score_of_a_policy_without_models(tmp_path: Path) -> None:
    page = _report(a_run(tmp_path / "run", a_test(policy="random", controller=None)))
    assert "The policy random" in page.texts[""]
    assert "--policy random" in page.texts["repeat"]
