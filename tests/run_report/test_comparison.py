"""Several runs in one page."""

from __future__ import annotations

from pathlib import Path

import pytest
from html_page import HtmlPage, assert_loads_nothing
from made_runs import a_run, a_test

from vmc.errors import VmcError
from vmc.run_report import comparison_path, write_comparison


def _compared(tmp_path: Path, *runs: Path) -> HtmlPage:
    page = HtmlPage.read(write_comparison(runs, tmp_path / "report.html"))
    assert_loads_nothing(page)
    return page


def test_a_row_for_each_run(tmp_path: Path) -> None:
    tests = [a_test(), a_test([100.0, 300.0]), a_test([-5.0, -7.0], policy="random")]
    one = a_run(tmp_path / "one", tests[0], searched=True, recorded=True)
    two = a_run(tmp_path / "two", tests[1], searched=True)
    three, four = a_run(tmp_path / "three", tests[2]), a_run(tmp_path / "four")
    page = _compared(tmp_path, one, two, three, four)
    assert [name for name in page.texts if name] == ["carracing-v3"]
    head, *rows = page.tables["carracing-v3"][0]
    assert head == ["run", "mean ± std", "95% of the mean", "episodes", "real frames", "time", "recipe"]
    assert [row[0] for row in rows] == ["one", "two", "three", "four"]
    assert rows[0][3:] == ["5", "4,500", "4 h 0 min", "options in run.json"]
    assert rows[1][4:] == ["3,000 *", "1 min 48 s *", "stage by stage"]
    assert (rows[2][1], rows[2][-1]) == ("-6.0 ± 1.4", "none: policy random")
    assert rows[3][1] == f"not tested: vmc test {four}"
    for test in tests:
        for value in (test["mean"], test["std"], *test["ci95"]):
            assert value in page.values["carracing-v3"]
    means, searches = page.alts
    assert "two 200.0" in means
    assert searches.endswith("over hours, for one.")  # a search alone would look cheap beside a whole run
    assert "Without curves, or without the costs of all stages: two, three, four" in page.texts["carracing-v3"]


def test_searches_alone_are_compared_with_their_like(tmp_path: Path) -> None:
    runs = [a_run(tmp_path / name, a_test(), searched=True) for name in ("one", "two")]
    page = _compared(tmp_path, *runs)
    assert page.alts[1].endswith("over hours, for one, two.")
    assert "of the search alone" in page.texts["carracing-v3"]


def test_each_environment_has_a_section_of_its_own(tmp_path: Path) -> None:
    one = a_run(tmp_path / "one", a_test())
    two = a_run(tmp_path / "two", a_test(env="CartPole-v1"))
    page = _compared(tmp_path, one, two)
    assert [name for name in page.texts if name] == ["carracing-v3", "cartpole-v1"]
    assert "906 ± 21" in page.texts["carracing-v3"]
    assert "906 ± 21" not in page.texts["cartpole-v1"]
    assert "no learning curves" in page.missing["cartpole-v1"][0]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [a_run(tmp_path / folder / "run", a_test()) for folder in ("a", "b")]
    page = _compared(tmp_path, *runs)
    assert [row[0] for row in page.tables["carracing-v3"][0][1:]] == ["a/run", "b/run"]


def test_many_runs_with_odd_names(tmp_path: Path) -> None:
    runs = [
        a_run(tmp_path / name, a_test(), searched=True) for name in ("_a", "$x", "b" * 60, "日本", "<b>", "&", "f", "g")
    ]
    assert _compared(tmp_path, *runs).tags["svg"] == 2


def test_the_file_is_in_the_folder_of_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [Path("results/one"), Path("results/ablation/two"), Path("results/ablation/three")]
    assert comparison_path(paths[:1]) == Path("results/report.html")
    assert comparison_path(paths) == Path("results/report.html")
    assert comparison_path(paths[1:]) == Path("results/ablation/report.html")
    assert comparison_path([Path("one"), Path("two")]) == Path("report.html")
    with pytest.raises(VmcError, match="no folder in common"):
        comparison_path([Path("/one/run"), Path("/two/run")])


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    run = a_run(tmp_path / "one", a_test())
    with pytest.raises(VmcError, match="given twice"):
        write_comparison([run, tmp_path / "." / "one"], tmp_path / "report.html")
    with pytest.raises(VmcError, match="is no folder"):
        write_comparison([run, tmp_path / "two"], tmp_path / "report.html")
