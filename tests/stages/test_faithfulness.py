import json
import shutil
from typing import Any

import numpy as np
import pytest
from conftest import TOY, ToyRun, toy_settings

from vmc.config import make_settings
from vmc.control.dream_fitness import DreamWorker
from vmc.dream.settings import DreamSettings
from vmc.errors import VmcError
from vmc.report.faithfulness import plot_faithfulness
from vmc.stages.faithfulness import measure_faithfulness, rank_correlation
from vmc.stages.settings import FaithfulnessSettings
from vmc.stages.train_controller import train_controller

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


def test_by_default_the_dreams_are_those_that_c_was_evolved_in(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(toy.run / "controller")
    own = {"temperature": 2.0, "horizon": 17, "sample_termination": True, "termination_threshold": 0.7}
    search = toy_settings("train-controller", dream=True, generations=2, **own)
    train_controller(search, toy.data, toy.run, "cpu", 0)
    made: list[DreamSettings] = []
    make = DreamWorker.__init__

    def watched(worker: DreamWorker, world: Any, settings: DreamSettings, *rest: Any) -> None:
        made.append(settings)
        make(worker, world, settings, *rest)

    monkeypatch.setattr(DreamWorker, "__init__", watched)
    few = {"controllers": 2, "episodes": 2, "dreams": 2}
    for given, expected in (({}, own), ({"temperature": 0.5, "horizon": 9}, {**own, "temperature": 0.5, "horizon": 9})):
        settings = make_settings(FaithfulnessSettings, TOY, few, given)
        measure_faithfulness(settings, toy.data, toy.run, "cpu", 0)
        assert made.pop() == DreamSettings(**expected)
        assert not made


def test_a_search_without_means_is_told(toy: ToyRun) -> None:
    for path in (toy.run / "controller" / "means").glob("*.json"):
        path.unlink()
    with pytest.raises(VmcError, match=r"means holds 0 controllers.*\n.*vmc train-controller"):
        measure_faithfulness(SETTINGS, toy.data, toy.run, "cpu", 0)


@pytest.mark.parametrize(("other", "expected"), [([10, 20, 30, 40], 1.0), ([4, 3, 2, 1], -1.0), ([1, 2, 4, 3], 0.8)])
def test_rank_correlation(other: list[float], expected: float) -> None:
    """Spearman's 1 - 6 sum(d^2) / (n (n^2 - 1))."""
    assert rank_correlation(np.array([0.1, 0.2, 0.3, 5.0]), np.array(other)) == pytest.approx(expected)
