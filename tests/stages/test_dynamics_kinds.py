"""Every kind of M through the stages, on the toy."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun, toy_settings
from vmc.models.dynamics_settings import DynamicsSettings

from vmc.errors import VmcError
from vmc.models.agent import load_agent
from vmc.models.backbones import BACKBONES
from vmc.models.checkpoints import vae_checkpoint
from vmc.models.loading import load_dynamics
from vmc.stages.encode import ensure_latents
from vmc.stages.evaluate import evaluate_controller as evaluate
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.storage.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vmc.storage.latents import write_latents
from vmc.storage.metrics import read_metrics
from vmc.storage.rollouts import RolloutDataset


def _train(toy: ToyRun, **values: Any) -> None:
    train_mdrnn(toy_settings("train-mdrnn", epochs=8, **values), toy.data, toy.run, "cpu")


def _controller(toy: ToyRun, **values: Any) -> None:
    settings = toy_settings("train-controller", generations=1, dream=True, **values)
    train_controller(settings, toy.data, toy.run, "cpu", 0)


def _fresh(toy: ToyRun) -> ToyRun:
    for folder in ("mdrnn", "controller"):
        shutil.rmtree(toy.run / folder)
    return toy


@pytest.mark.parametrize(
    ("dynamics", "mixture"), [*((kind, "per-dimension") for kind in BACKBONES), ("gru", "shared"), ("lstm", "shared")]
)
def test_a_kind_learns_dreams_and_drives(dynamics: str, mixture: str, toy: ToyRun) -> None:
    _train(_fresh(toy), dynamics=dynamics, mixture=mixture)
    losses = [line["val_nll_per_dimension"] for line in read_metrics(toy.run / "mdrnn")]
    assert min(losses) < losses[0] - 0.1
    module, checkpoint = load_dynamics(toy.run, vae_checkpoint(toy.run))
    assert (module.settings.backbone, module.settings.mixture) == (dynamics, mixture)
    assert any(name.startswith(f"{dynamics}.") for name in checkpoint.weights)
    _controller(toy)
    result = evaluate(toy_settings("test", episodes=2), toy.data, toy.run, "cpu", 0)
    assert len(result["episodes"]) == 2


def test_a_controller_that_is_to_see_a_cell_that_is_not_there_is_refused(toy: ToyRun) -> None:
    _train(_fresh(toy), dynamics="gru")
    with pytest.raises(VmcError, match=r"'zch', but M in .* is of the kind gru, which has no cell c"):
        _controller(toy, inputs="zch")
    assert not (toy.run / "controller").exists()


def test_another_kind_in_the_same_folder_is_refused(toy: ToyRun) -> None:
    with pytest.raises(VmcError, match="was trained with dynamics = lstm; now it is gru"):
        train_mdrnn(toy_settings("train-mdrnn", dynamics="gru"), toy.data, toy.run, "cpu")


def test_a_run_from_before_there_were_kinds_goes_on(toy: ToyRun) -> None:
    """Its checkpoints name no backbone and no mixture, and its settings neither."""
    for name in ("best", "latest"):
        _rewrite(toy.run / "mdrnn", name)
    module, _ = load_dynamics(toy.run, vae_checkpoint(toy.run))
    assert module.settings == DynamicsSettings(8, 1, 32, backbone="lstm", mixture="per-dimension")
    load_agent(toy.run, TOY)
    train_mdrnn(toy_settings("train-mdrnn"), toy.data, toy.run, "cpu")
    with pytest.raises(VmcError, match="was trained with mixture = per-dimension; now it is shared"):
        train_mdrnn(toy_settings("train-mdrnn", mixture="shared"), toy.data, toy.run, "cpu")


def _rewrite(folder: Path, name: str) -> None:
    checkpoint: Checkpoint = load_checkpoint(folder, name, "")
    for settings, names in (("model", ("backbone", "mixture")), ("config", ("dynamics", "mixture"))):
        for field in names:
            checkpoint.info.get(settings, {field: None}).pop(field)
    save_checkpoint(folder, name, checkpoint.info, checkpoint.weights, checkpoint.state or None)


def test_stalls_count_as_terminations(toy: ToyRun) -> None:
    """From each reward the median is taken away, so that some stretches pay nothing."""
    latents, vae = ensure_latents(_fresh(toy).run, RolloutDataset(toy.data), torch.device("cpu"))
    unpaid = replace(latents, rewards=latents.rewards - np.median(latents.rewards))
    digests = [episode.digest for episode in RolloutDataset(toy.data).episodes]
    write_latents(toy.run / "latents.h5", unpaid, vae.sha256, digests)
    _train(toy, no_reward_limit=2)
    report = json.loads((toy.run / "mdrnn" / "report.json").read_text())
    over = np.split(unpaid.termination_labels(2), unpaid.first_steps()[1:])
    expected = sum(over[position].sum() for position in unpaid.validation())
    assert report["terminations"] == expected > unpaid.terminated[unpaid.validation()].sum()
    assert load_checkpoint(toy.run / "mdrnn", "best", "vmc train-mdrnn").info["no_reward_limit"] == 2
