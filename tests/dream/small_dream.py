"""A small dream with random weights whose ends can be told by an action."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gymnasium.spaces import Box

from vmc.dream.loading import TrainedDream, save_starts
from vmc.dream.starts import DreamStarts
from vmc.models.backbones.contract import Hidden
from vmc.models.checkpoints import dynamics_folder, model_info, vae_folder
from vmc.models.dynamics import MDNRNN
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.models.loading import load_dynamics, load_vae
from vmc.models.vae import ConvVAE, VAESettings
from vmc.storage.checkpoint import save_checkpoint

Z, A, H = 4, 2, 16
GO, END = [0.5, -0.5], [0.5, 1.0]


def make_dream(seed: int = 0) -> TrainedDream:
    """Terminates exactly where the second action is above 0.5."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        dynamics = MDNRNN(DynamicsSettings(Z, A, H)).eval().requires_grad_(False)
        vae = ConvVAE(VAESettings(Z)).eval().requires_grad_(False)
        starts = DreamStarts(torch.randn(9, Z), torch.randn(9, Z), Hidden(torch.randn(9, H), torch.randn(9, H)), True)
    # The first unit forgets all, and takes the sign of the second action - 0.5.
    for weights in (dynamics.lstm.weight_ih_l0, dynamics.lstm.weight_hh_l0, dynamics.lstm.bias_ih_l0):
        weights[0::H] = 0
    dynamics.lstm.bias_ih_l0[0::H] = torch.tensor([30.0, -30.0, -50.0, 30.0])
    dynamics.lstm.weight_ih_l0[2 * H, Z + 1] = 100.0
    dynamics.termination.weight.zero_()
    dynamics.termination.weight[0, 0] = 10.0
    dynamics.termination.bias.zero_()
    return TrainedDream(vae, dynamics, starts, Box(-1.0, 1.0, (A,)))


def save_run(run: Path, seed: int = 0) -> TrainedDream:
    """The same dream as a run's folder."""
    dream = make_dream(seed)
    arrays = {name: tensor.numpy() for name, tensor in dream.vae.state_dict().items()}
    vae = save_checkpoint(vae_folder(run), "best", model_info(dream.vae.settings), arrays)
    save_dynamics(run, dream.dynamics, vae)
    save_starts(run, dream.starts, load_dynamics(run, load_vae(run)[1])[1], dream.action_space)
    return dream


def save_dynamics(run: Path, dynamics: MDNRNN, vae: str) -> None:
    """M's checkpoint; `vae` is the hash of its V."""
    arrays = {name: tensor.numpy() for name, tensor in dynamics.state_dict().items()}
    info = model_info(dynamics.settings) | {"vae": vae, "sample_latents": True}
    save_checkpoint(dynamics_folder(run), "best", info, arrays)


def drive(steps: int, num_dreams: int, seed: int = 0) -> np.ndarray:
    """Random actions (T, N, A) that end a dream in one step of eight."""
    return np.random.default_rng(seed).uniform(-1, [1, 0.7], (steps, num_dreams, A)).astype(np.float32)
