"""The metrics of a killed and resumed stage hold every step once."""

import json
from pathlib import Path

import pytest

from vmc.storage.metrics import MetricsLog, read_metrics


def _steps(directory: Path) -> list[int]:
    return [line["step"] for line in read_metrics(directory)]


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    log.append(1, loss=0.5, note="first")
    log.append(2, loss=0.25)
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 0.5, "note": "first"}, {"step": 2, "loss": 0.25}]


def test_there_are_none_before_the_first(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    MetricsLog(tmp_path / "new", 0)
    assert read_metrics(tmp_path / "new") == []


@pytest.mark.parametrize("last_step", [0, 3, 5, 9])
def test_a_resumed_stage_drops_what_comes_after_its_checkpoint(last_step: int, tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    for step in range(1, 6):
        log.append(step, loss=1.0)
    resumed = MetricsLog(tmp_path, last_step)
    assert _steps(tmp_path) == list(range(1, min(last_step, 5) + 1))
    resumed.append(last_step + 1, loss=2.0)
    assert _steps(tmp_path) == [*range(1, min(last_step, 5) + 1), last_step + 1]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_last_line_that_was_cut_off_is_passed_over(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    log.append(1, loss=0.5)
    log.append(2, loss=0.25)
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert _steps(tmp_path) == list(range(1, whole[:length].count(b"\n") + 1))
    MetricsLog(tmp_path, 2).append(2, loss=0.125)  # the next line is not appended to the cut-off line
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.125}]


def test_text_with_line_breaks_of_other_alphabets_is_one_line(tmp_path: Path) -> None:
    MetricsLog(tmp_path, 0).append(1, note="a\u2028b\nc\x85d")
    assert read_metrics(tmp_path) == [{"step": 1, "note": "a\u2028b\nc\x85d"}]


def test_every_line_is_json_by_itself(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    log.append(1, returns=[1.0, 2.0])
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "returns": [1.0, 2.0]}
