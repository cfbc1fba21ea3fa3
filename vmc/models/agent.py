"""V, M and C as one policy in an environment's loop (paper, Listing 1), for one environment on one CPU thread.

All of it is NumPy, so a worker process starts without torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from vmc.envs import ActionMap, action_map_of, make_env
from vmc.episode import Action, Frame
from vmc.errors import VmcError
from vmc.models.backbones import make_step
from vmc.models.backbones.contract import Array, Weights
from vmc.models.checkpoints import (
    TRAIN_CONTROLLER,
    StoredController,
    controller_folder,
    dynamics_checkpoint,
    load_controller,
    stored_settings,
    vae_checkpoint,
)
from vmc.models.controller import Controller, ControllerSettings
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.models.vision import Encoder, make_encoder
from vmc.policies import Exploration
from vmc.storage.checkpoint import Checkpoint, read_sidecar


class Memory:
    """M's recurrence alone: no mixture, no heads.

    Args:
        weights: M's arrays by their PyTorch names, as in its checkpoint.
    """

    def __init__(self, settings: DynamicsSettings, weights: Weights) -> None:
        self.settings = settings
        self._step = make_step(settings.backbone, weights, _linear)

    def reset(self) -> None:
        """Begins an episode: a state of zeros."""
        self.h = np.zeros(self.settings.hidden_size, np.float32)
        self.c = np.zeros(self.settings.cell_size, np.float32)

    def step(self, latent: Array, action: Array) -> None:
        """Moves the state by one step; latent (Z,), action (A,)."""
        inputs = np.concatenate([latent, action])
        (self.h,), (self.c,) = self._step(inputs[None], self.h[None], self.c[None])


def _linear(weight: Array, bias: Array) -> Callable[[Array], Array]:
    """A layer for one row, (1, I) to (1, O): a `MakeLinear`."""
    return lambda inputs: (weight @ inputs[0] + bias)[None]


class Agent:
    """Sees a frame, acts, and remembers.

    C's h is M's state before it sees this frame's z (the paper's Listing 1), and M sees the action that was really
    applied, exploration noise included.

    Args:
        sample_latents: whether z is drawn from V's posterior, as M's training data were, or is its mean.
        noise: of the exploration, for collecting; 0 has none.
    """

    def __init__(
        self, vision: Encoder, memory: Memory, action_map: ActionMap, sample_latents: bool, noise: float = 0.0
    ) -> None:
        self._vision = vision
        self._memory = memory
        self._action_map = action_map
        self._sample_latents = sample_latents
        self._exploration = Exploration(action_map.size, noise) if noise else None
        self.source: dict[str, str] = {}

    def use(self, controller: Controller) -> None:
        """Drives with this C from now on."""
        self._controller = controller

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._memory.reset()
        if self._exploration is not None:
            self._exploration.reset(rng)

    def act(self, frame: Frame) -> Action:
        latent, log_variance = self._vision.encode(frame)
        if self._sample_latents:
            noise = self._rng.standard_normal(len(latent), dtype=np.float32)
            latent = latent + np.exp(0.5 * log_variance) * noise
        outputs = self._controller(latent, self._memory.h, self._memory.c)
        if self._exploration is not None:
            outputs = self._exploration(outputs)
        action = self._action_map(outputs)
        self._memory.step(latent, action)
        return action


def load_body(run: Path, env: str, inputs: str = "zh", hidden_units: int = 0) -> tuple[Agent, ControllerSettings]:
    """An agent without a controller, from a run's V and M, and the shape of a C for it.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong; C is to see a cell that M does not have.
    """
    vae = vae_checkpoint(run, env)
    dynamics = dynamics_checkpoint(run, vae)
    memory = stored_settings(DynamicsSettings, dynamics)
    if "c" in inputs and not memory.cell_size:
        raise VmcError(
            f"C's inputs are {inputs!r}, but M in {run} is of the kind {memory.backbone}, which has no cell c.",
            "Give --inputs zh, or train M with --dynamics lstm.",
        )
    agent, shape = _body(vae, dynamics, env, noise=0.0)
    return agent, replace(shape, inputs=inputs, hidden_units=hidden_units)


def load_agent(run: Path, env: str, noise: float = 0.0, name: str = "best") -> Agent:
    """A run's V, M and C, ready to drive.

    Args:
        name: which C: the `best`, or the `latest`, the mean of the search where it stands.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong.
    """
    vae = vae_checkpoint(run, env)
    dynamics = dynamics_checkpoint(run, vae)
    controller = load_controller(run, vae, dynamics, name)
    agent, _ = _body(vae, dynamics, env, noise)
    agent.use(Controller(controller.settings, controller.parameters))
    agent.source["controller"] = controller.sha256
    return agent


class Candidates:
    """A policy that drives each episode with another C, drawn around the search's mean at its step size.

    A search in the dream scores candidates, so M has to see what they do in reality.
    """

    def __init__(self, agent: Agent, mean: StoredController, step_size: float) -> None:
        self._agent = agent
        self._mean = mean
        self._step_size = step_size

    def reset(self, rng: np.random.Generator) -> None:
        parameters = self._mean.parameters + self._step_size * rng.standard_normal(len(self._mean.parameters))
        self._agent.use(Controller(self._mean.settings, parameters))
        self._agent.reset(rng)

    def act(self, frame: Frame) -> Action:
        return self._agent.act(frame)


def load_candidates(run: Path, env: str) -> Candidates:
    """The candidates of a run's search where it stands.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong.
    """
    vae = vae_checkpoint(run, env)
    dynamics = dynamics_checkpoint(run, vae)
    search = read_sidecar(controller_folder(run), "latest", TRAIN_CONTROLLER)["info"]["search"]
    agent, _ = _body(vae, dynamics, env, noise=0.0)
    return Candidates(agent, load_controller(run, vae, dynamics, "latest"), search["attributes"]["sigma"])


def _body(vae: Checkpoint, dynamics: Checkpoint, env: str, noise: float) -> tuple[Agent, ControllerSettings]:
    made = make_env(env)
    action_map = action_map_of(env, made)
    made.close()
    vision, memory = make_encoder(vae), Memory(stored_settings(DynamicsSettings, dynamics), dynamics.weights)
    agent = Agent(vision, memory, action_map, dynamics.info["sample_latents"], noise)
    agent.source = {"vae": vae.sha256, "dynamics": dynamics.sha256}
    return agent, ControllerSettings(vision.latent_size, memory.settings.hidden_size, action_map.size)
