import json
from pathlib import Path
from typing import Any

import pytest
from report_lines import a_line, a_record, in_reality, two_rounds

from vmc.report.search import Search


def test_dreamed_and_real_returns_are_apart() -> None:
    search = Search(two_rounds(), [])
    assert search.places() == ["real", "dream"]
    assert [tuple(each)[:2] for each in search.validations("real")] == [(2, 300), (4, 200), (5, 250)]
    assert [tuple(each)[:2] for each in search.validations("dream")] == [(2, 90)]
    assert [[line["step"] for line in lines] for lines in search.candidates("real")] == [[3, 4, 5]]
    assert [[line["step"] for line in lines] for lines in search.candidates("dream")] == [[1, 2]]


def test_a_search_in_reality_alone_has_no_dream() -> None:
    assert Search([a_line(1), a_line(2)], []).places() == ["real"]


@pytest.mark.parametrize(
    ("records", "generation"),
    [([], 5), ([a_record(0, 300), a_record(1, 250)], 5), ([a_record(0, 300), a_record(1, 280)], 2)],
)
def test_the_kept_c_is_the_last_rounds_unless_that_found_none_better(
    records: list[dict[str, Any]], generation: int
) -> None:
    kept = Search(two_rounds(), records).kept()
    assert kept is not None
    assert (kept[0], kept[1].generation) == ("real", generation)


def test_the_record_says_which_c_won_the_race_at_the_end_of_a_round() -> None:
    """The race is on other episodes, so that neither its winner nor the return can be told from the validations."""
    raced = a_record(1, 260.0)
    raced["metrics"]["kept generation"] = 4
    kept = Search(two_rounds(), [a_record(0, 300.0), raced]).kept()
    assert kept is not None
    assert kept[1].generation == 4
    older = {**a_record(1, 260.0), "settings": {"final_candidates": 2}}
    kept = Search(two_rounds(), [a_record(0, 300.0), older]).kept()
    assert kept is not None
    assert kept[1].generation == 5


def test_nothing_is_kept_without_a_validation() -> None:
    assert Search([a_line(1)], []).kept() is None
    assert Search([], []).kept() is None


def test_a_chains_data_and_the_time_of_its_other_stages_count(tmp_path: Path) -> None:
    assert Search.read(tmp_path).before(1) == (0, 0)
    stages = [(0, "rollouts"), (0, "train-vae"), (0, "train-controller"), (1, "rollouts"), (1, "test")]
    records = [
        {"round": number, "stage": stage, "seconds": 2.0**position, "metrics": {"frames": 100 * (number + 1)}}
        for position, (number, stage) in enumerate(stages)
    ]
    (tmp_path / "run.json").write_text(json.dumps(records))
    search = Search.read(tmp_path)
    assert search.before(0) == (100, 1 + 2)
    assert search.before(1) == (200, 1 + 2 + 8)
    (validation,) = Search([a_line(10, 1, **in_reality(5))], records).validations("real")
    assert (validation.real_frames, validation.hours) == (10_000 + 200, (360 + 11) / 3600)
