import json
from pathlib import Path
from typing import Any

from report_lines import a_line

from vmc.report.costs import StageCost, read_costs
from vmc.report.search import Search


def _record(number: int, stage: str, seconds: float, **metrics: Any) -> dict[str, Any]:
    return {"round": number, "stage": stage, "seconds": seconds, "metrics": metrics}


def test_stages_are_summed_over_rounds_and_frames_are_counted_once(tmp_path: Path) -> None:
    records = [
        _record(0, "rollouts", 1, frames=100),
        _record(0, "train-controller", 10, **{"real steps": 5}),
        _record(1, "rollouts", 2, frames=150),
        _record(1, "train-controller", 20, **{"real steps": 9}),
        _record(1, "test", 4),
    ]
    costs = read_costs(tmp_path, Search([], records))
    assert costs.stages == [
        StageCost("rollouts", 2, 3, 150),
        StageCost("train-controller", 2, 30, 9),
        StageCost("test", 1, 4),
    ]
    assert (costs.seconds, costs.real_frames, costs.is_whole) == (37, 159, True)
    # The lines of the search know it for older records, too.
    assert read_costs(tmp_path, Search([a_line(3)], records)).real_frames == 150 + 3000


def test_without_records_the_metrics_tell_the_stages_that_kept_them(tmp_path: Path) -> None:
    (tmp_path / "controller").mkdir()
    (tmp_path / "controller" / "metrics.jsonl").write_text(json.dumps(a_line(2)) + "\n")
    costs = read_costs(tmp_path, Search.read(tmp_path))
    assert costs.stages == [StageCost("train-controller", 1, 72, 2000)]
    assert not costs.is_whole
    empty = read_costs(tmp_path / "none", Search([], []))
    assert (empty.stages, empty.real_frames) == ([], None)
