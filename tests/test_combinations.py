"""Every kind of M with every trainer, on the toy: each finds nine tenths of the best possible return.

They take six minutes on one core, so they run on demand alone: `python -m pytest -m nightly`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import TOY, ToyRun

from vmc.config import make_settings
from vmc.models.dynamics import KINDS
from vmc.stages.collect import collect
from vmc.stages.settings import STAGES
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.stages.train_vae import train_vae

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1200)]
BEST_RETURN = 40.0
# In 1,700 frames there is too little to see for 32 variables of 32 classes.
SMALL = {
    "transformer": "transformer,context=16",
    "rssm": "rssm,num_variables=8,num_classes=8,hidden_size=64",
}
MODELS = [*(SMALL.get(kind, kind) for kind in KINDS), "rssm,stochastic=gaussian,num_variables=8,hidden_size=64"]
TRAINERS: dict[str, dict[str, Any]] = {
    "cma-es": {
        "dream": True,
        "generations": 25,
        "population_size": 16,
        "rollouts_per_candidate": 16,
        "step_size": 0.3,
        "horizon": 40,
    },
    "actor-critic": {
        "dream": True,
        "generations": 15,
        "updates": 40,
        "imagined_dreams": 128,
        "imagined_steps": 10,
        "learning_rate": 3e-3,
    },
    "ppo": {"dream": True, "generations": 40, "rollouts": 32, "horizon": 40, "noise": 0.5},
    "planner": {"generations": 1, "plan_steps": 4, "plan_candidates": 100},
}


def _settings(stage: str, **values: Any) -> Any:
    return make_settings(STAGES[stage], TOY, values)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    """Data and a V."""
    folder = tmp_path_factory.mktemp("seen")
    toy = ToyRun(folder / "data", folder / "run")
    collect(_settings("rollouts", episodes=60), toy.data, None, 0)
    train_vae(_settings("train-vae", epochs=20, batch_size=32, patience=20), toy.data, toy.run, "cpu")
    return toy


@pytest.fixture(scope="module", params=MODELS)
def dreaming(request: pytest.FixtureRequest, seen: ToyRun, tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    """A run with an M of each kind."""
    run = tmp_path_factory.mktemp("dreaming")
    shutil.copytree(seen.run, run, dirs_exist_ok=True)
    epochs = 150 if request.param.startswith("rssm") else 60
    schedule = {"epochs": epochs, "patience": epochs, "learning_rate": 3e-3, "final_lr_fraction": 0.1}
    settings = _settings("train-mdrnn", dynamics=request.param, batch_size=8, window=16, **schedule)
    train_mdrnn(settings, seen.data, run, "cpu")
    return ToyRun(seen.data, run)


@pytest.mark.parametrize("trainer", TRAINERS)
def test_it_finds_nine_tenths_of_the_best_return(trainer: str, dreaming: ToyRun, tmp_path: Path) -> None:
    shutil.copytree(dreaming.run, tmp_path, dirs_exist_ok=True)
    validation = {"validate_every": 5, "validation_episodes": 20}
    settings = _settings("train-controller", trainer=trainer, **TRAINERS[trainer], **validation)
    state = train_controller(settings, dreaming.data, tmp_path, "cpu", 0)
    assert state.best_return is not None
    assert state.best_return > 0.9 * BEST_RETURN
