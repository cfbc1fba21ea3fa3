import json

import numpy as np
import pytest
from conftest import TOY, ToyRun

from vmc.config import make_settings
from vmc.errors import VmcError
from vmc.report.faithfulness import plot_faithfulness
from vmc.stages.faithfulness import measure_faithfulness, rank_correlation
from vmc.stages.settings import FaithfulnessSettings

SETTINGS = make_settings(FaithfulnessSettings, TOY, {"controllers": 3, "episodes": 4, "dreams": 8, "horizon": 30})


def test_the_report_compares_dream_and_reality(toy: ToyRun) -> None:
    report = measure_faithfulness(SETTINGS, toy.data, toy.run, "cpu", 0)
    assert json.loads((toy.run / "faithfulness.json").read_text()) == report
    gap = report["gap"]
    assert gap["generations"] == sorted(gap["generations"])
    assert gap["generations"][0] == 0  # where the search began
    assert len(gap["dream"]) == len(gap["real"]) == len(gap["real_error"]) == len(gap["generations"])
    said, happened = report["reward"]["said"], report["reward"]["happened"]
    assert said == sorted(said)
    assert np.corrcoef(said, happened)[0, 1] > 0.9  # the toy's reward follows from what is seen
    assert all(0 <= probability <= 1 for probability in report["termination"]["said"])


def test_the_picture_is_drawn(toy: ToyRun) -> None:
    report = measure_faithfulness(SETTINGS, toy.data, toy.run, "cpu", 0)
    picture = toy.run / "faithfulness.png"
    plot_faithfulness(report, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_search_without_means_is_told(toy: ToyRun) -> None:
    for path in (toy.run / "controller" / "means").glob("*.json"):
        path.unlink()
    with pytest.raises(VmcError, match=r"means holds 0 controllers.*\n.*vmc train-controller"):
        measure_faithfulness(SETTINGS, toy.data, toy.run, "cpu", 0)


@pytest.mark.parametrize(("other", "expected"), [([10, 20, 30, 40], 1.0), ([4, 3, 2, 1], -1.0), ([1, 2, 4, 3], 0.8)])
def test_rank_correlation(other: list[float], expected: float) -> None:
    """Spearman's 1 - 6 sum(d^2) / (n (n^2 - 1))."""
    assert rank_correlation(np.array([0.1, 0.2, 0.3, 5.0]), np.array(other)) == pytest.approx(expected)
