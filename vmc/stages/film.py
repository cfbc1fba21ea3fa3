"""A film of one test episode: the real frames, what V keeps of them, and M's dream of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.dream.world import DreamWorld, dream_along
from vmc.envs import PREPROCESSING, make_env
from vmc.episode import Limits, Trajectory, run_episode
from vmc.errors import VmcError
from vmc.models.agent import load_agent
from vmc.models.checkpoints import vae_checkpoint
from vmc.models.dynamics import MDNRNN
from vmc.models.loading import load_dynamics, load_vae
from vmc.models.vae import VisionModel, sample_latent, to_frames
from vmc.models.visions import DEFAULT_VISION, VISIONS
from vmc.report.video import check_video_path, write_video
from vmc.seeding import env_seed, stream, torch_stream

# The dream is woken so often, at the recorded state; until then it sees nothing but the recorded actions.
DREAM_STEPS = 100
_GAP = 2


def film_episode(env: str, run: Path, path: Path, max_steps: int | None, seed: int) -> None:
    """Drives the first test episode with the run's C and writes it as three panels side by side.

    Raises:
        VmcError: V, M or C missing or strangers; V sees vectors; a file ending that is neither .mp4 nor .gif.
    """
    check_video_path(path)
    _check_pictures(env, run)
    trajectory = _record(env, run, max_steps, seed)
    frames = np.stack(trajectory.frames)
    vae, made_by = load_vae(run)
    dynamics, checkpoint = load_dynamics(run, made_by)
    generator = torch_stream(seed, "film")
    latents = _latents(vae, frames, checkpoint.info["sample_latents"], generator)
    actions = torch.from_numpy(np.stack(trajectory.actions))
    dreamed = _dream(dynamics, latents, actions, generator)
    panels = [frames, _decoded(vae, latents), _decoded(vae, dreamed)]
    gap = np.full((len(frames), frames.shape[1], _GAP, 3), 255, np.uint8)
    write_video(path, np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=2))


def _check_pictures(env: str, run: Path) -> None:
    kind = vae_checkpoint(run, env).info.get("vision", DEFAULT_VISION)
    if VISIONS[kind] != PREPROCESSING:
        raise VmcError(
            f"V of {run} sees vectors: there are no pictures to reconstruct or to dream.",
            "Leave --video out, or train another run with --pixels.",
        )


def _record(env_id: str, run: Path, max_steps: int | None, seed: int) -> Trajectory:
    env = make_env(env_id)
    trajectory = Trajectory()
    number = env_seed(seed, "test", 0)
    run_episode(env, load_agent(run, env_id), number, stream(number, "agent"), Limits(max_steps), trajectory)
    env.close()
    return trajectory


@torch.no_grad()
def _latents(vae: VisionModel, frames: npt.NDArray[np.uint8], sample: bool, generator: torch.Generator) -> Tensor:
    parts = [vae.encode(vae.to_input(part)) for part in torch.from_numpy(frames).split(256)]
    mean, log_variance = (torch.cat(column) for column in zip(*parts, strict=True))
    noise = torch.randn(mean.shape, generator=generator)
    return sample_latent(mean, log_variance, noise) if sample else mean


@torch.no_grad()
def _decoded(vae: VisionModel, latents: Tensor) -> npt.NDArray[np.uint8]:
    return torch.cat([to_frames(vae.decode(part)) for part in latents.split(256)]).numpy()


@torch.no_grad()
def _dream(dynamics: MDNRNN, latents: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
    world = DreamWorld(dynamics)
    hidden = dynamics.initial_hidden(1)
    dreamed = [latents[:1]]
    for first in range(0, len(actions), DREAM_STEPS):
        window = slice(first, first + DREAM_STEPS)
        steps, _ = dream_along(world, latents[first : first + 1], hidden, actions[None, window], generator)
        dreamed.append(steps[0])
        _, hidden = dynamics(latents[None, :-1][:, window], actions[None, window], hidden)
    return torch.cat(dreamed)
