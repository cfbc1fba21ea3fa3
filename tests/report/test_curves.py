import json
from pathlib import Path

from vmc.report.curves import _before_the_search


def test_a_chains_data_and_the_time_of_its_other_stages_count(tmp_path: Path) -> None:
    assert _before_the_search(tmp_path, 1) == (0, 0)
    stages = [(0, "rollouts"), (0, "train-vae"), (0, "train-controller"), (1, "rollouts"), (1, "test")]
    records = [
        {"round": number, "stage": stage, "seconds": 2.0**position, "metrics": {"frames": 100 * (number + 1)}}
        for position, (number, stage) in enumerate(stages)
    ]
    (tmp_path / "run.json").write_text(json.dumps(records))
    assert _before_the_search(tmp_path, 0) == (100, 1 + 2)
    assert _before_the_search(tmp_path, 1) == (200, 1 + 2 + 8)
