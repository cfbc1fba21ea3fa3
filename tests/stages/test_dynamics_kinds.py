"""Every kind of M through the stages, on the toy; and kinds that are not there."""

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ToyRun, toy_settings

from vmc.dream.loading import load_dream
from vmc.errors import VmcError
from vmc.models.checkpoints import vae_checkpoint
from vmc.models.dynamics import KINDS, dynamics_class
from vmc.models.loading import load_dynamics
from vmc.stages.encode import ensure_latents
from vmc.stages.evaluate import evaluate_controller as evaluate
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.stages.train_vae import train_vae
from vmc.storage.checkpoint import load_checkpoint, save_checkpoint
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
    ("dynamics", "mixture"), [*((kind, "per-dimension") for kind in KINDS), ("gru", "shared"), ("lstm", "shared")]
)
def test_a_kind_learns_dreams_and_drives(dynamics: str, mixture: str, toy: ToyRun) -> None:
    _train(_fresh(toy), dynamics=dynamics, mixture=mixture)
    losses = [line["val_nll_per_dimension"] for line in read_metrics(toy.run / "mdrnn")]
    assert min(losses) < losses[0] - 0.1
    module, checkpoint = load_dynamics(toy.run, vae_checkpoint(toy.run))
    assert type(module) is dynamics_class(dynamics)
    assert checkpoint.info["kind"] == dynamics
    assert getattr(module.settings, "mixture", mixture) == mixture  # not every kind has one
    assert checkpoint.info["features"] == module.feature_sizes
    _controller(toy)
    result = evaluate(toy_settings("test", episodes=2), toy.data, toy.run, "cpu", 0)
    assert len(result["episodes"]) == 2


def test_a_controller_that_is_to_read_a_feature_that_is_not_there_is_refused(toy: ToyRun) -> None:
    _train(_fresh(toy), dynamics="gru")
    with pytest.raises(VmcError, match=r"'zch', but M in .* \(gru\) has no feature 'c'.\n.*give --inputs zh"):
        _controller(toy, inputs="zch")
    assert not (toy.run / "controller").exists()


def test_another_kind_in_the_same_folder_is_refused(toy: ToyRun) -> None:
    with pytest.raises(VmcError, match="was trained with dynamics = lstm; now it is gru"):
        train_mdrnn(toy_settings("train-mdrnn", dynamics="gru"), toy.data, toy.run, "cpu")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("diffusion", r"There is no M of kind 'diffusion'\.\n.*module:Class"),
        ("gruu", r"There is no M of kind 'gruu'\.\n.*'gru'"),
        ("no_such_module:Own", r"M of kind 'no_such_module:Own' cannot be imported.*no_such_module.*\n.*PYTHONPATH"),
        ("vmc.models.dynamics.gru:Gru", r"M of kind 'vmc.models.dynamics.gru:Gru' cannot be imported.*Gru"),
    ],
)
def test_an_m_that_is_not_there_is_told(kind: str, told: str, toy: ToyRun) -> None:
    with pytest.raises(VmcError, match=told):
        train_mdrnn(toy_settings("train-mdrnn", dynamics=kind), toy.data, _fresh(toy).run, "cpu")
    assert not any((toy.run / "mdrnn").glob("*.json"))


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("convolution", r"There is no V of kind 'convolution'\.\n.*module:Class"),
        ("no_such_module:Own", r"V of kind 'no_such_module:Own' cannot be imported.*no_such_module.*\n.*PYTHONPATH"),
        ("vmc.models.vision.conv:Conv", r"V of kind 'vmc.models.vision.conv:Conv' cannot be imported.*Conv"),
    ],
)
def test_a_v_that_is_not_there_is_told(kind: str, told: str, toy: ToyRun) -> None:
    shutil.rmtree(toy.run / "vae")
    with pytest.raises(VmcError, match=told):
        train_vae(toy_settings("train-vae", vision=kind), toy.data, toy.run, "cpu")
    assert not any((toy.run / "vae").glob("*.json"))


@pytest.mark.parametrize(("folder", "command"), [("vae", "V"), ("mdrnn", "M")])
def test_a_run_of_a_kind_that_cannot_be_imported_is_told(folder: str, command: str, toy: ToyRun) -> None:
    """As a run of somebody else's, whose module is not installed here."""
    checkpoint = load_checkpoint(toy.run / folder, "best", "")
    parts = (checkpoint.weights, None, checkpoint.graphs)
    save_checkpoint(toy.run / folder, "best", checkpoint.info | {"kind": "their_models:Theirs"}, *parts)
    with pytest.raises(VmcError, match=rf"{command} of kind 'their_models:Theirs' cannot be imported"):
        load_dream(toy.run)


def test_steps_without_a_positive_reward_are_labelled_as_terminations(toy: ToyRun) -> None:
    """From each reward the median is taken away, so that some stretches pay nothing."""
    latents, vae = ensure_latents(_fresh(toy).run, RolloutDataset(toy.data), torch.device("cpu"))
    unpaid = replace(latents, rewards=latents.rewards - np.median(latents.rewards))
    digests = [episode.digest for episode in RolloutDataset(toy.data).episodes]
    write_latents(toy.run / "latents.h5", unpaid, vae.sha256, digests)
    _train(toy, no_reward_limit=2)
    report = json.loads((toy.run / "mdrnn" / "report.json").read_text())
    labels = np.split(unpaid.termination_labels(2), unpaid.first_steps()[1:])
    expected = sum(labels[position].sum() for position in unpaid.validation())
    assert report["terminations"] == expected > unpaid.terminated[unpaid.validation()].sum()
    assert load_checkpoint(toy.run / "mdrnn", "best", "vmc train-mdrnn").info["no_reward_limit"] == 2
