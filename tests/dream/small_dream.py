"""A small dream with random weights whose ends can be told by an action."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vmc.dream.loading import TrainedDream, save_starts
from vmc.dream.starts import DreamStarts
from vmc.envs import FRAME_SHAPE, ActionMap, BoxActionMap
from vmc.envs.actions import space_of
from vmc.models.checkpoints import dynamics_folder, vae_folder
from vmc.models.dynamics.contract import WorldModel
from vmc.models.dynamics.lstm import LSTM
from vmc.models.dynamics.state import State
from vmc.models.loading import arrays_of, dynamics_info, load_dynamics, load_vae, vision_graphs, vision_info
from vmc.models.vision.conv import ConvSettings, ConvVAE
from vmc.storage.checkpoint import save_checkpoint
from vmc.storage.rollouts import FrameKind

Z, A, H = 4, 2, 16
GO, END = [0.5, -0.5], [0.5, 1.0]
ACTION_MAP = BoxActionMap.from_bounds([-1, -1], [1, 1])


def make_dream(seed: int = 0, action_map: ActionMap = ACTION_MAP) -> TrainedDream:
    """Terminates exactly where the second action is above 0.5."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        dynamics = LSTM(LSTM.Settings(Z, A, H)).eval().requires_grad_(False)
        vae = ConvVAE(ConvSettings(Z)).eval().requires_grad_(False)
        means, log_variances, h, c = (torch.randn(9, size) for size in (Z, Z, H, H))
        starts = DreamStarts(dynamics, means, log_variances, State((means, h, c)), sample_latents=True)
    # The first unit forgets all, and takes the sign of the second action - 0.5.
    for weights in (dynamics.lstm.weight_ih_l0, dynamics.lstm.weight_hh_l0, dynamics.lstm.bias_ih_l0):
        weights[0::H] = 0
    dynamics.lstm.bias_ih_l0[0::H] = torch.tensor([30.0, -30.0, -50.0, 30.0])
    dynamics.lstm.weight_ih_l0[2 * H, Z + 1] = 100.0
    dynamics.termination.weight.zero_()
    dynamics.termination.weight[0, 0] = 10.0
    dynamics.termination.bias.zero_()
    return TrainedDream(vae, dynamics, starts, space_of(action_map))


def save_run(run: Path, seed: int = 0, action_map: ActionMap = ACTION_MAP) -> TrainedDream:
    """The same dream as a run's folder."""
    dream = make_dream(seed, action_map)
    info = vision_info("conv", dream.vae) | {"action_map": action_map.to_json()}
    graphs = vision_graphs(dream.vae, FrameKind(FRAME_SHAPE, "uint8"))
    vae = save_checkpoint(vae_folder(run), "best", info, arrays_of(dream.vae), graphs=graphs)
    save_dynamics(run, dream.dynamics, vae, action_map)
    save_starts(run, dream.starts, load_dynamics(run, load_vae(run)[1])[1])
    return dream


def save_dynamics(run: Path, dynamics: WorldModel, vae: str, action_map: ActionMap = ACTION_MAP) -> None:
    """M's checkpoint; `vae` is the hash of its V."""
    kept = {"vae": vae, "sample_latents": True, "no_reward_limit": None, "action_map": action_map.to_json()}
    save_checkpoint(dynamics_folder(run), "best", dynamics_info("lstm", dynamics) | kept, arrays_of(dynamics))


def drive(steps: int, num_dreams: int, seed: int = 0) -> np.ndarray:
    """Random actions (T, N, A) that end a dream in one step of eight."""
    return np.random.default_rng(seed).uniform(-1, [1, 0.7], (steps, num_dreams, A)).astype(np.float32)
