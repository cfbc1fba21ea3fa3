"""A trained run as one object: what a notebook begins with.

Example:
    >>> from vmc import load_run
    >>> run = load_run("results/carracing")  # doctest: +SKIP
    >>> outcome = run.drive(seed=1)  # doctest: +SKIP
    >>> frames = run.decode(run.starts.means[:8])  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.dream.loading import load_dream
from vmc.dream.observations import as_array, check_pictures
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamWorld
from vmc.envs import action_map_from_json, make_env
from vmc.episode import EpisodeResult, Limits, Trajectory, run_episode
from vmc.errors import VmcError
from vmc.models.agent import Agent, load_agent
from vmc.models.checkpoints import controller_folder, dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.models.chunks import decode_frames
from vmc.models.controller import population_outputs
from vmc.models.dynamics.contract import WorldModel
from vmc.models.vision.contract import Vision
from vmc.seeding import stream
from vmc.storage.checkpoint import has_checkpoint


@dataclass(frozen=True)
class Run:
    """A run's V, M and C.

    Attributes:
        path: its folder.
        env: the environment that it was trained on.
        vae, dynamics: V and M, in evaluation mode, on the CPU.
        starts: recorded moments, with M's state at each, that dreams can begin at.
        settings: of the dream that C was evolved in.
    """

    path: Path
    env: str
    vae: Vision
    dynamics: WorldModel
    starts: DreamStarts
    settings: DreamSettings

    def agent(self) -> Agent:
        """V, M and C as a policy for the real environment: `reset(rng)`, then `act(frame)` on (64, 64, 3) frames.

        Raises:
            VmcError: the run has no C.
        """
        self._require_controller()
        return load_agent(self.path, self.env)

    def drive(self, seed: int, max_steps: int | None = None, trajectory: Trajectory | None = None) -> EpisodeResult:
        """One episode of the real environment under the run's C.

        Args:
            seed: of the environment and of the draws of z.
            trajectory: filled with every frame, action and reward, when given.
        """
        env = make_env(self.env)
        try:
            return run_episode(env, self.agent(), seed, stream(seed, "agent"), Limits(max_steps), trajectory)
        finally:
            env.close()

    def dream(self) -> DreamWorld:
        """M as an environment: `step(state, actions, noise, settings)` on batches of any size."""
        return DreamWorld(self.dynamics)

    def batch_controller(self) -> Callable[[Mapping[str, Tensor]], Tensor]:
        """C for batches: from M's features, by name, (B, width), to actions (B, A).

        Raises:
            VmcError: the run has no C, or a planner.
        """
        self._require_controller()
        vae = vae_checkpoint(self.path)
        dynamics = dynamics_checkpoint(self.path, vae)
        stored = load_controller(self.path, vae, dynamics)
        if stored.planning is not None:
            raise VmcError(f"C in {self.path} is a planner, which plans from one state at a time.", "Use `agent()`.")
        action_map = action_map_from_json(dynamics.info["action_map"])
        parameters = torch.from_numpy(stored.parameters.astype(np.float32))[None]
        return lambda features: action_map.torch(population_outputs(stored.settings, parameters, features))

    @torch.no_grad()
    def encode(self, frames: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Frames (B, 64, 64, 3), or vectors (B, D), to V's posterior: mean and log-variance, each (B, Z)."""
        return self.vae.encode(self.vae.to_input(torch.from_numpy(frames)))

    def decode(self, latents: Tensor) -> npt.NDArray[np.uint8]:
        """Latents (B, Z) to V's pictures of them, (B, 64, 64, 3).

        Raises:
            VmcError: V sees vectors, which are no pictures.
        """
        check_pictures(self.vae)
        return as_array(decode_frames(self.vae, latents))

    def _require_controller(self) -> None:
        if not has_checkpoint(controller_folder(self.path), "best"):
            raise VmcError(f"{self.path} has no C.", "Run `vmc train-controller` first.")


def load_run(path: str | Path) -> Run:
    """A run's models from its folder, a full one or an exported one.

    Raises:
        VmcError: V, M or the moments beside it are missing, corrupt, or do not belong together.
    """
    folder = Path(path)
    dream = load_dream(folder)
    return Run(folder, vae_checkpoint(folder).info["env"], dream.vae, dream.dynamics, dream.starts, dream.settings)
