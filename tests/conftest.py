"""Shared fixtures: a small run on the toy environment, made once by the real stages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from vmc.config import make_settings
from vmc.stages.collect import collect
from vmc.stages.settings import STAGES
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.stages.train_vae import train_vae

# One thread in every process, set before torch is imported: two threads wait for each other on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"

TOY = "vmc/Toy-v0"
# Seconds for the whole chain; enough for V to see the colour.
TOY_VALUES: dict[str, dict[str, Any]] = {
    "rollouts": {"episodes": 14},
    # So short that they need their whole learning rate to the end.
    "train-vae": {"epochs": 6, "batch_size": 32, "final_lr_fraction": 1.0},
    "train-mdrnn": {
        "epochs": 40,
        "batch_size": 4,
        "window": 16,
        "patience": 40,
        "learning_rate": 3e-3,
        "final_lr_fraction": 1.0,
    },
    "train-controller": {
        "generations": 3,
        "population_size": 6,
        "rollouts_per_candidate": 2,
        "validate_every": 1,
        "validation_episodes": 4,
        "step_size": 0.3,
        "horizon": 40,
    },
    "test": {"episodes": 10},
}


@dataclass(frozen=True)
class ToyRun:
    """Folders of a run on the toy environment."""

    data: Path
    run: Path


def toy_settings(stage: str, **values: Any) -> Any:
    """A stage's settings for the toy."""
    return make_settings(STAGES[stage], TOY, TOY_VALUES[stage], values)


@pytest.fixture
def double_precision() -> Iterator[None]:
    """For sums that are taken in another order for one step than for many."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def toy_session(tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    """V, M and C of the toy, trained once. Not to be written to: see `toy`."""
    folder = tmp_path_factory.mktemp("toy")
    data, run = folder / "data", folder / "run"
    collect(toy_settings("rollouts"), data, None, 0)
    train_vae(toy_settings("train-vae"), data, run, "cpu")
    train_mdrnn(toy_settings("train-mdrnn"), data, run, "cpu")
    train_controller(toy_settings("train-controller"), data, run, "cpu", 0)
    return ToyRun(data, run)


@pytest.fixture
def toy(toy_session: ToyRun, tmp_path: Path) -> ToyRun:
    """A copy of the trained toy run, to be written to and damaged."""
    shutil.copytree(toy_session.data, tmp_path / "data")
    shutil.copytree(toy_session.run, tmp_path / "run")
    return ToyRun(tmp_path / "data", tmp_path / "run")
