"""V and M trained together: what each learns from, exact resume, and a run that stays whole."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun, toy_settings

import vmc.stages.training
from vmc.errors import VmcError
from vmc.models.agent import load_agent
from vmc.models.loading import load_dynamics, load_vae
from vmc.stages.collect import collect
from vmc.stages.encode import ensure_latents
from vmc.stages.episode_batches import statistics_of
from vmc.stages.train_controller import train_controller
from vmc.stages.train_jointly import JointTraining
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.stages.train_vae import train_vae
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.metrics import read_metrics
from vmc.storage.rollouts import RolloutDataset

JOINT = {"joint": True, "epochs": 3, "batch_size": 8}


def _train(toy: ToyRun, **values: Any) -> None:
    train_mdrnn(toy_settings("train-mdrnn", **JOINT | values), toy.data, toy.run, "cpu")


def _with_v_alone(toy: ToyRun, folder: Path) -> ToyRun:
    shutil.copytree(toy.run / "vae", folder / "vae")
    return replace(toy, run=folder)


def _training(toy: ToyRun) -> JointTraining:
    settings = toy_settings("train-mdrnn", **JOINT)
    dataset = RolloutDataset(toy.data)
    latents, checkpoint = ensure_latents(toy.run, dataset, torch.device("cpu"))
    dynamics, _ = load_dynamics(toy.run, checkpoint)
    statistics = statistics_of(latents, checkpoint.weights["latent_mask"], None)
    parts = dataset, latents, statistics, load_vae(toy.run)[0], dynamics.requires_grad_(True), torch.device("cpu")
    return JointTraining(settings, *parts)


def _gradients(training: JointTraining) -> dict[str, torch.Tensor]:
    """Of the losses of the first window of the first batch."""
    batch = next(training.batches(0, 0))
    _, losses = training.losses(batch.window(0, 8), None, is_first=True)
    losses["loss"].backward()
    gradients = {name: each.grad.clone() for name, each in training.module.named_parameters() if each.grad is not None}
    training.module.zero_grad()
    return gradients


def test_m_learns_from_its_own_losses_alone(toy: ToyRun) -> None:
    """On the z that V draws: neither V's reconstruction nor what V wants of M moves M."""
    training = _training(toy)
    found = _gradients(training)
    batch = next(training.batches(0, 0)).window(0, 8)
    vae, dynamics = training.module["vae"], training.module["dynamics"]
    with torch.no_grad():
        mean, log_variance = vae.encode(vae.to_input(batch.frames.flatten(0, 1)))
        z = (mean + (0.5 * log_variance).exp() * batch.noise.flatten(0, 1)).unflatten(0, batch.noise.shape[:2])
    losses, _ = dynamics.loss(replace(batch.sequences, latents=z), dynamics.initial(z[:, 0]))
    (dynamics.latent_mask.sum() * losses["loss"]).backward()
    for name, parameter in dynamics.named_parameters():
        torch.testing.assert_close(found[f"dynamics.{name}"], parameter.grad, rtol=1e-4, atol=1e-6)


def test_v_learns_from_the_rewards(toy: ToyRun) -> None:
    """Other rewards, other gradients of the encoder, and the same of the decoder."""
    gradients = []
    for change in (0.0, 3.0):
        training = _training(toy)
        batches = training.batches

        def changed(epoch: int, unit: int, batches: Any = batches, change: float = change) -> Any:
            for batch in batches(epoch, unit):
                rewards = batch.sequences.rewards + change
                yield batch._replace(sequences=replace(batch.sequences, rewards=rewards))

        training.batches = changed  # type: ignore[method-assign]
        gradients.append(_gradients(training))
    before, after = gradients
    assert not torch.allclose(before["vae.mean.weight"], after["vae.mean.weight"])
    torch.testing.assert_close(before["vae.expand.weight"], after["vae.expand.weight"])


def test_it_improves_both_and_leaves_a_whole_run(toy: ToyRun, tmp_path: Path) -> None:
    run = _with_v_alone(toy, tmp_path / "joint")
    before = load_vae(run.run)[1]
    _train(run, epochs=6, learning_rate=3e-3)
    lines = read_metrics(run.run / "joint")
    assert lines[-1]["val_loss"] < lines[0]["val_loss"]
    assert lines[-1]["val_reconstruction"] < 1.2 * lines[0]["val_reconstruction"]
    assert load_vae(run.run)[1].sha256 != before.sha256
    search = toy_settings("train-controller", dream=True, generations=1)
    train_controller(search, run.data, run.run, "cpu", 0)
    assert set(load_agent(run.run, TOY).source) == {"vae", "dynamics", "controller"}


class _Killed(Exception):
    pass


def test_a_killed_training_ends_where_the_whole_one_did(
    toy: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = (_with_v_alone(toy, tmp_path / name) for name in ("whole", "killed"))
    _train(whole)
    save, saves = vmc.stages.training._save_latest, []

    def save_and_die(*arguments: Any) -> None:
        save(*arguments)
        saves.append(1)
        if len(saves) == 4:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(vmc.stages.training, "_CHECKPOINT_SECONDS", 0.0)
        patch.setattr(vmc.stages.training, "_save_latest", save_and_die)
        with pytest.raises(_Killed):
            _train(killed)
    _train(killed)
    for place in ("vae", "mdrnn"):
        expected, found = (load_checkpoint(each.run / place, "best", "").weights for each in (whole, killed))
        assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_new_data_give_m_new_units_of_reward(toy: ToyRun, tmp_path: Path) -> None:
    run = _with_v_alone(toy, tmp_path / "joint")
    _train(run, epochs=1)
    before = load_dynamics(run.run, load_vae(run.run)[1])[0].reward_scale
    collect(toy_settings("rollouts", episodes=24), run.data, None, 0)
    _train(run, epochs=1)
    after, vae = load_dynamics(run.run, load_vae(run.run)[1])[0].reward_scale, load_vae(run.run)[1]
    assert before != after
    assert vae.info["epoch"] in (1, 2)


def test_what_would_undo_it_is_refused(toy: ToyRun, tmp_path: Path) -> None:
    run = _with_v_alone(toy, tmp_path / "joint")
    _train(run, epochs=1)
    with pytest.raises(VmcError, match=r"trained with --joint"):
        _train(run, joint=False)
    with pytest.raises(VmcError, match=r"with M \(--joint\): this would undo it"):
        train_vae(toy_settings("train-vae"), run.data, run.run, "cpu")
    with pytest.raises(VmcError, match=r"trained without --joint"):
        _train(toy)


def test_z_must_be_drawn(toy: ToyRun, tmp_path: Path) -> None:
    with pytest.raises(VmcError, match=r"draws z(.|\n)*--no-sample-latents"):
        _train(_with_v_alone(toy, tmp_path / "joint"), sample_latents=False)
