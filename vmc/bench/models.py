"""Untrained models at the paper's size: their speed is that of trained ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vmc.envs import CARRACING, get_task
from vmc.models.checkpoints import dynamics_folder, model_info, vae_folder
from vmc.models.controller import ControllerSettings
from vmc.models.dynamics import MDNRNN
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.models.vae import ConvVAE
from vmc.storage.checkpoint import save_checkpoint
from vmc.storage.latents import Latents

ACTION_SIZE = 3
CONTROLLER = ControllerSettings(get_task(CARRACING).latent_size, get_task(CARRACING).hidden_size, ACTION_SIZE)


def make_models() -> tuple[ConvVAE, MDNRNN]:
    """V and M for CarRacing, untrained."""
    torch.manual_seed(0)
    vae = ConvVAE().eval().requires_grad_(False)
    dynamics = MDNRNN(DynamicsSettings(CONTROLLER.latent_size, ACTION_SIZE)).eval().requires_grad_(False)
    return vae, dynamics


def make_run(run: Path) -> None:
    """A run folder that holds them, for workers to load."""
    vae, dynamics = make_models()
    vae_hash = save_checkpoint(vae_folder(run), "best", model_info(vae.settings) | {"env": CARRACING}, arrays(vae))
    info = model_info(dynamics.settings) | {"vae": vae_hash, "sample_latents": True}
    save_checkpoint(dynamics_folder(run), "best", info, arrays(dynamics))


def encoder_operations(vae: ConvVAE) -> float:
    """Multiplications and additions to encode one frame."""
    frame = torch.zeros(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter:
        vae.encode(frame)
    return float(counter.get_total_flops())


def recurrence_operations(dynamics: MDNRNN) -> float:
    """Multiplications and additions of one step of the LSTM, without the heads."""
    m = dynamics.settings
    return 2 * 4 * m.hidden_size * (m.latent_size + m.action_size + m.hidden_size)


def head_operations(dynamics: MDNRNN) -> float:
    """Multiplications and additions of M's mixture, reward and termination for one step."""
    m = dynamics.settings
    return 2 * m.hidden_size * (3 * m.latent_size * m.num_mixtures + 2)


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """A module's weights as NumPy arrays."""
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def make_latents(episodes: int, length: int) -> Latents:
    """Made-up latent episodes of one length; the fourth is held out, as ever."""
    rng = np.random.default_rng(0)
    frames, steps = episodes * (length + 1), episodes * length
    shapes = ((frames, CONTROLLER.latent_size), (frames, CONTROLLER.latent_size), (steps, ACTION_SIZE), (steps,))
    means, log_variances, actions, rewards = (rng.standard_normal(shape, np.float32) for shape in shapes)
    lengths = np.full(episodes, length)
    return Latents(means, log_variances, actions, rewards, np.arange(episodes), lengths, np.zeros(episodes, bool))
