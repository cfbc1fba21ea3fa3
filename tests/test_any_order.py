"""Commands on one run in any order: each does what it says or says why not, and what was finished is never lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import TOY
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from vmc.cli import main
from vmc.models.checkpoints import controller_folder, dynamics_folder, vae_folder
from vmc.storage.checkpoint import load_checkpoint, read_sidecar
from vmc.storage.rollouts import present_indices

_STAGES = ("train-vae", "train-mdrnn", "train-controller")
_FOLDERS = dict(zip(_STAGES, (vae_folder, dynamics_folder, controller_folder), strict=True))
_LENGTHS = {"train-vae": "--epochs", "train-mdrnn": "--epochs", "train-controller": "--generations"}
_OPTIONS = {
    "rollouts": ["--workers", "0"],
    "train-vae": ["--batch-size", "32"],
    "train-mdrnn": ["--window", "16"],
    "train-controller": [
        *("--dream", "--horizon", "20", "--population-size", "4", "--rollouts-per-candidate", "1"),
        *("--validate-every", "1", "--validation-episodes", "2", "--workers", "0"),
    ],
}
# An option of each stage that may not change while it goes on.
_CHANGED = {
    "train-vae": ["--batch-size", "16"],
    "train-mdrnn": ["--window", "8"],
    "train-controller": ["--population-size", "6"],
}
_ROUND = f"""
env = "{TOY}"
[[rounds]]
[rounds.rollouts]
episodes = 12
[rounds.train-vae]
epochs = 1
batch_size = 32
[rounds.train-mdrnn]
epochs = 1
window = 16
[rounds.train-controller]
dream = true
generations = 1
horizon = 20
population_size = 4
rollouts_per_candidate = 1
validate_every = 1
validation_episodes = 2
[rounds.test]
episodes = 2
"""


class AnyOrder(RuleBasedStateMachine):
    """One run and one data folder."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.data, self.run = self.folder / "data", self.folder / "run"
        self.finished: dict[str, int] = {}
        self.episodes: set[int] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize()
    def first_episodes(self) -> None:
        assert self._vmc("rollouts", "--episodes", "6") == 0

    @rule(more=st.integers(1, 4))
    def add_rollouts(self, more: int) -> None:
        wanted = len(self.episodes) + more
        assert self._vmc("rollouts", "--episodes", str(wanted)) == 0
        assert len(present_indices(self.data)) == wanted

    @rule(stage=st.sampled_from(_STAGES), more=st.integers(0, 2))
    def train(self, stage: str, more: int) -> None:
        """A stage that has what it needs ends as told; the others say what is missing."""
        wanted = self.finished.get(stage, 0) + more
        status = self._vmc(stage, _LENGTHS[stage], str(wanted))
        before = _STAGES[: _STAGES.index(stage)]
        if all(self.finished.get(each) for each in before) and wanted:
            assert status == 0 or "changed" in self.text or "another" in self.text.lower(), self.text
        if status == 0 and wanted:
            self.finished[stage] = wanted

    @rule(stage=st.sampled_from(_STAGES))
    def change_an_option(self, stage: str) -> None:
        """Refused, with the option's name, where the stage has begun and goes on."""
        if self.finished.get(stage):
            self._vmc(stage, _LENGTHS[stage], str(self.finished[stage] + 1), *_CHANGED[stage])
            if "Error:" not in self.text:  # a new round may have other options
                self.finished[stage] = self._length(stage)

    @rule(stage=st.sampled_from(_STAGES), after=st.floats(0.5, 4))
    def kill(self, stage: str, after: float) -> None:
        arguments = self._arguments(stage, _LENGTHS[stage], str(self.finished.get(stage, 0) + 1))
        process = subprocess.Popen(
            [sys.executable, "-m", "vmc", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.finished[stage] = max(self.finished.get(stage, 0), self._length(stage))

    @rule()
    def another_round(self) -> None:
        recipe = self.folder / "round.toml"
        recipe.write_text(_ROUND, encoding="utf-8")
        places = ["--data", str(self.data), "--run", str(self.run), "--workers", "0"]
        status = self._command("run", "--recipe", str(recipe), *places)
        for stage in _STAGES:
            self.finished[stage] = max(self.finished.get(stage, 0), self._length(stage))
        if status == 0:
            assert (self.run / "test.json").exists()

    @rule(command=st.sampled_from(["test", "export", "inspect", "report"]))
    def read(self, command: str) -> None:
        """Needs a whole run; changes nothing in it."""
        target = self.folder / "copy"
        options = {
            "test": ["test", str(self.run), "--episodes", "2", "--workers", "0"],
            "export": ["export", "--run", str(self.run), "--to", str(target)],
            "inspect": ["inspect", str(self.run)],
            "report": ["report", str(self.run)],
        }
        before = self._best()
        self._command(*options[command])
        assert self._best() == before
        shutil.rmtree(target, ignore_errors=True)

    @invariant()
    def nothing_is_lost(self) -> None:
        episodes = present_indices(self.data) if self.data.exists() else set()
        assert episodes >= self.episodes
        self.episodes = set(episodes)
        for stage in _STAGES:
            if self.finished.get(stage):
                load_checkpoint(_FOLDERS[stage](self.run), "best", "")  # whole, and its hashes right
                assert self._length(stage) >= self.finished[stage]
        assert not list(self.folder.rglob("*.partial"))

    def _length(self, stage: str) -> int:
        """The epochs or generations that its newest checkpoint has."""
        folder = _FOLDERS[stage](self.run)
        if not (folder / "latest.json").exists():
            return 0
        counters: dict[str, Any] = read_sidecar(folder, "latest", "")["info"]["state"]
        return int(counters.get("epoch", counters.get("generation", 0)))

    def _best(self) -> list[str]:
        return [json.loads(path.read_text(encoding="utf-8"))["sha256"] for path in sorted(self.run.glob("*/best.json"))]

    def _arguments(self, stage: str, *options: str) -> list[str]:
        shared = ["--env", TOY, "--data", str(self.data)]
        return [stage, *shared, *(["--run", str(self.run)] if stage != "rollouts" else []), *_OPTIONS[stage], *options]

    def _vmc(self, stage: str, *options: str) -> int:
        return self._command(*self._arguments(stage, *options))

    def _command(self, *arguments: str) -> int:
        result = CliRunner().invoke(main, list(arguments))
        self.text = result.output
        assert result.exit_code in (0, 1, 2), self.text
        assert result.exception is None or isinstance(result.exception, SystemExit), self.text
        assert result.exit_code == 0 or "Error:" in self.text
        assert "Traceback" not in self.text
        return result.exit_code


_COMMON: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}
_COMMON["phases"] = [Phase.explicit, Phase.generate]  # to shrink a case takes many minutes
TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=int(os.environ.get("VMC_ORDERS", "4")), stateful_step_count=8, **_COMMON)
pytestmark = pytest.mark.timeout(3600)
