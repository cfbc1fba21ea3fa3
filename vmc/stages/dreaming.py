"""The dream of a run, put together from its checkpoints and its latents."""

from __future__ import annotations

from pathlib import Path

from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamSettings, DreamWorld
from vmc.envs import PREPROCESSING, action_squash, make_env
from vmc.evolution.dreamed import DreamFitness
from vmc.models.controller import ControllerSettings
from vmc.models.loading import load_dynamics
from vmc.stages.device import choose_device
from vmc.stages.encode import ensure_latents
from vmc.storage.rollouts import RolloutDataset, check_env_matches


def make_dream_fitness(
    env: str, data: Path, run: Path, settings: DreamSettings, device_name: str, seed: int, held_out: bool
) -> DreamFitness:
    """The dream of a run's M, starting from its recorded training episodes, or from the held-out ones.

    Raises:
        VmcError: V or M missing, corrupt or strangers to each other; no data.
    """
    device = choose_device(device_name)
    dataset = RolloutDataset(data)
    check_env_matches(dataset, env, PREPROCESSING)
    latents, vae = ensure_latents(run, dataset, device)
    dynamics, checkpoint = load_dynamics(run, vae)
    dynamics.to(device)
    episodes = latents.held_out() if held_out else latents.training()
    starts = DreamStarts(dynamics, latents, episodes, checkpoint.info["sample_latents"], seed)
    made = make_env(env)
    squash = action_squash(env, made)
    made.close()
    sizes = dynamics.settings
    shape = ControllerSettings(sizes.latent_size, sizes.hidden_size, sizes.action_size)
    return DreamFitness(DreamWorld(dynamics, settings), starts, shape, squash)
