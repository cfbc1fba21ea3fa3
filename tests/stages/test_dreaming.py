"""The moments that a trained run keeps for its dreams."""

import shutil
from pathlib import Path

import gymnasium
import numpy as np
import torch
from conftest import ToyRun, toy_settings

from vmc.dream.loading import load_dream
from vmc.models.loading import load_dynamics, load_vae
from vmc.stages.encode import ensure_latents
from vmc.stages.inspection import inspect_path
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.storage.rollouts import RolloutDataset


def test_a_trained_run_is_dreamed_without_its_data(toy_session: ToyRun, tmp_path: Path) -> None:
    for folder in ("vae", "mdrnn"):
        shutil.copytree(toy_session.run / folder, tmp_path / folder)
    env = gymnasium.make("vmc/Dream-v0", run=tmp_path)
    assert env.action_space == gymnasium.make("vmc/Toy-v0").action_space
    env.reset(seed=0)
    rewards = [env.step(env.action_space.sample())[1] for _ in range(5)]
    assert np.isfinite(rewards).all()


def test_the_kept_moments_are_of_training_episodes(toy_session: ToyRun) -> None:
    latents, _ = ensure_latents(toy_session.run, RolloutDataset(toy_session.data), torch.device("cpu"))
    frames = latents.first_frames()
    training = np.concatenate([latents.means[frames[e] : frames[e] + latents.lengths[e]] for e in latents.training()])
    starts = load_dream(toy_session.run).starts
    assert any("starts of dreams" in line for line in inspect_path(toy_session.run))
    assert 12 < len(starts) <= 512
    for mean in starts.means.numpy():
        assert (training == mean).all(axis=1).any()


def test_training_m_again_makes_lost_moments_again(toy: ToyRun) -> None:
    before = load_dream(toy.run).starts
    (toy.run / "mdrnn" / "starts.json").unlink()
    train_mdrnn(toy_settings("train-mdrnn"), toy.data, toy.run, "cpu")
    after = load_dream(toy.run).starts
    for part, expected in zip(after.state, before.state, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=0)
    assert load_dynamics(toy.run, load_vae(toy.run)[1])  # M itself was left alone
