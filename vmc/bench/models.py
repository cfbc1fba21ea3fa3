"""Untrained models at the paper's size: their speed is that of trained ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from vmc.envs import CARRACING, FRAME_SHAPE, BoxActionMap, get_task
from vmc.models.checkpoints import dynamics_folder, vae_folder
from vmc.models.controller import LinearSettings
from vmc.models.dynamics.contract import WorldModel
from vmc.models.dynamics.lstm import LSTM
from vmc.models.dynamics.noise import Noise
from vmc.models.loading import arrays_of, dynamics_info, make_dynamics, vision_graphs, vision_info
from vmc.models.vision.conv import ConvVAE
from vmc.storage.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vmc.storage.latents import Latents
from vmc.storage.rollouts import FrameKind

LATENT_SIZE, HIDDEN_SIZE, ACTION_SIZE = get_task(CARRACING).latent_size, get_task(CARRACING).hidden_size, 3
CONTROLLER = LinearSettings("zh", LATENT_SIZE + HIDDEN_SIZE, ACTION_SIZE)
ACTION_MAP = BoxActionMap.from_bounds([-1] * ACTION_SIZE, [1] * ACTION_SIZE)


def make_models() -> tuple[ConvVAE, LSTM]:
    """V and M for CarRacing, untrained."""
    torch.manual_seed(0)
    vae = ConvVAE().eval().requires_grad_(False)
    dynamics = LSTM(LSTM.Settings(LATENT_SIZE, ACTION_SIZE, HIDDEN_SIZE)).eval().requires_grad_(False)
    return vae, dynamics


def make_dynamics_of(kind: str) -> WorldModel:
    """An M of another kind for CarRacing, untrained."""
    torch.manual_seed(0)
    sizes = {"latent_size": LATENT_SIZE, "action_size": ACTION_SIZE, "hidden_size": HIDDEN_SIZE}
    return make_dynamics(kind, **sizes).eval().requires_grad_(False)


def step_operations(dynamics: WorldModel) -> float:
    """Multiplications and additions of one dreamed step."""
    state, noise = dynamics.initial(torch.zeros(1, LATENT_SIZE)), dynamics.noise_sizes
    numbers = Noise(torch.zeros(1, noise.uniform), torch.zeros(1, noise.normal), torch.zeros(1))
    with FlopCounterMode(display=False) as counter:
        dynamics.imagine(state, torch.zeros(1, ACTION_SIZE), numbers, 1.0)
    return float(counter.get_total_flops())


def make_run(run: Path) -> tuple[Checkpoint, Checkpoint]:
    """A run folder that holds them, for workers to load; their checkpoints."""
    vae, dynamics = make_models()
    info = vision_info("conv", vae) | {"env": CARRACING, "action_map": ACTION_MAP.to_json()}
    graphs = vision_graphs(vae, FrameKind(FRAME_SHAPE, "uint8"))
    vae_hash = save_checkpoint(vae_folder(run), "best", info, arrays_of(vae), graphs=graphs)
    kept = {"vae": vae_hash, "sample_latents": True, "no_reward_limit": None, "action_map": ACTION_MAP.to_json()}
    save_checkpoint(dynamics_folder(run), "best", dynamics_info("lstm", dynamics) | kept, arrays_of(dynamics))
    return load_checkpoint(vae_folder(run), "best", ""), load_checkpoint(dynamics_folder(run), "best", "")


def encoder_operations(vae: ConvVAE) -> float:
    """Multiplications and additions to encode one frame."""
    frame = torch.zeros(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter:
        vae.encode(frame)
    return float(counter.get_total_flops())


def recurrence_operations(dynamics: LSTM) -> float:
    """Multiplications and additions of one step of the LSTM, without the heads."""
    m = dynamics.settings
    return 2 * 4 * m.hidden_size * (m.latent_size + m.action_size + m.hidden_size)


def head_operations(dynamics: LSTM) -> float:
    """Multiplications and additions of M's mixture, reward and termination for one step."""
    m = dynamics.settings
    return 2 * m.hidden_size * (3 * m.latent_size * m.num_mixtures + 2)


def make_latents(episodes: int, length: int) -> Latents:
    """Made-up latent episodes of one length; the fourth is for validation."""
    rng = np.random.default_rng(0)
    frames, steps = episodes * (length + 1), episodes * length
    shapes = ((frames, LATENT_SIZE), (frames, LATENT_SIZE), (steps, ACTION_SIZE), (steps,))
    means, log_variances, actions, rewards = (rng.standard_normal(shape, np.float32) for shape in shapes)
    lengths = np.full(episodes, length)
    return Latents(means, log_variances, actions, rewards, np.arange(episodes), lengths, np.zeros(episodes, bool))
