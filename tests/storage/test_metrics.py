"""The metrics of a killed and resumed stage hold every step once."""

import json
import math
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vmc.errors import VmcError
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


class _FakeRun:
    """Stands for a run of wandb or trackio: what was logged, and whether it was ended."""

    def __init__(self, **settings: Any) -> None:
        self.settings, self.logged, self.is_finished = settings, [], False

    def log(self, numbers: dict[str, float], step: int) -> None:
        self.logged.append((step, numbers))

    def finish(self) -> None:
        self.is_finished = True


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[_FakeRun]]:
    """Modules that take the place of `wandb` and `trackio`, which are not installed for the tests; their runs."""
    runs: dict[str, list[_FakeRun]] = {"wandb": [], "trackio": []}
    for name, made in runs.items():

        def init(made: list[_FakeRun] = made, **settings: Any) -> _FakeRun:
            made.append(_FakeRun(**settings))
            return made[-1]

        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.init = init  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return runs


def test_all_loggers_get_the_same_names(fakes: dict[str, list[_FakeRun]], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run" / "vae"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"epochs": 3}')
    log = MetricsLog(folder, 0, ["tensorboard", "wandb", "trackio"])
    log.append(1, loss=0.5, note="text", diverged=math.inf)
    log.append(2, loss=0.25)
    log.close()
    for name, runs in fakes.items():
        (run,) = runs
        assert run.logged == [(1, {"vae/loss": 0.5}), (2, {"vae/loss": 0.25})], name
        assert run.settings["config"] == {"epochs": 3}
        assert run.settings["name"].startswith("run-vae-")
        assert run.is_finished
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("vae/loss")] == [(1, 0.5), (2, 0.25)]

    # A resumed stage goes on in its own run.
    MetricsLog(folder, 2, ["wandb", "trackio"]).close()
    for runs in fakes.values():
        assert runs[0].settings == runs[1].settings


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_logger_that_is_missing_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(VmcError, match=rf"is not installed.*\n.*pip install '\.\[{name}\]'; or leave out --log {name}"):
        MetricsLog(tmp_path, 0, [name])
    assert not list(tmp_path.iterdir())


def test_an_unknown_logger_is_told(tmp_path: Path) -> None:
    with pytest.raises(VmcError, match=r"no logger 'wand'.*\n.*Did you mean 'wandb'"):
        MetricsLog(tmp_path, 0, ["wand"])


def test_every_line_is_json_by_itself(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0)
    log.append(1, returns=[1.0, 2.0])
    line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert len(line.pop("check")) == 16
    assert line == {"step": 1, "returns": [1.0, 2.0]}
