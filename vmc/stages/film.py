"""A film of one test episode: the real frames, what V keeps of them, and M's dream of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld, dream_along
from vmc.envs import make_env
from vmc.episode import Limits, Trajectory, iterate_episode
from vmc.errors import VmcError
from vmc.models.agent import load_agent
from vmc.models.checkpoints import vae_checkpoint
from vmc.models.chunks import decode_frames
from vmc.models.dynamics.contract import WorldModel
from vmc.models.loading import load_dynamics, load_vae
from vmc.report.video import check_video_path, write_video
from vmc.seeding import env_seed, stream

# The dream starts again so often, at M's state of the recorded episode; in between it sees only the actions.
DREAM_STEPS = 100
PANELS = ("environment", "V's reconstruction", "M's dream")


def film_episode(env: str, run: Path, path: Path, max_steps: int | None, seed: int) -> None:
    """Films the first test episode under the run's C, as three panels, labelled as in `PANELS`.

    Raises:
        VmcError: V, M or C missing, or they do not belong together; V sees vectors; a file ending that is neither .mp4
            nor .gif.
    """
    check_video_path(path)
    vae_checkpoint(run, env)
    vae, made_by = load_vae(run)
    if not vae.decodes_pictures:
        raise VmcError(
            f"V of {run} sees vectors: there are no pictures to reconstruct or to dream.",
            "Leave --video out, or train another run with --pixels.",
        )
    trajectory, latents = _record(env, run, max_steps, seed)
    frames, actions = np.stack(trajectory.frames[:-1]), torch.from_numpy(np.stack(trajectory.actions))
    dynamics, _ = load_dynamics(run, made_by)
    dreamed = _dream(dynamics, latents, actions, stream(seed, "film"))
    pictures = (frames, decode_frames(vae, latents).numpy(), decode_frames(vae, dreamed).numpy())
    write_video(path, dict(zip(PANELS, pictures, strict=True)))


def _record(env_id: str, run: Path, max_steps: int | None, seed: int) -> tuple[Trajectory, Tensor]:
    """The episode's steps, and the latents that the agent acted on, (T, Z)."""
    env, trajectory, latents = make_env(env_id), Trajectory(), []
    number = env_seed(seed, "test", 0)
    agent = load_agent(run, env_id)
    for step in iterate_episode(env, agent, number, stream(number, "agent"), Limits(max_steps)):
        trajectory.append(step)
        assert step.decision.latent is not None  # an agent's decision
        latents.append(step.decision.latent)
    env.close()
    return trajectory, torch.from_numpy(np.stack(latents))


@torch.no_grad()
def _dream(dynamics: WorldModel, latents: Tensor, actions: Tensor, rng: np.random.Generator) -> Tensor:
    """The episode as M dreams it, (T, Z), in pieces of `DREAM_STEPS` steps."""
    world, settings = DreamWorld(dynamics), DreamSettings()
    state, dreamed = dynamics.initial(latents[:1]), [latents[:1]]
    for first in range(0, len(actions) - 1, DREAM_STEPS):
        window = actions[first : min(first + DREAM_STEPS, len(actions) - 1)]
        steps, _ = dream_along(world, state, window[None], rng, settings)
        dreamed.append(steps[0])
        for t, action in enumerate(window, start=first + 1):
            state = dynamics.observe(state, action[None], latents[t : t + 1])
    return torch.cat(dreamed)
