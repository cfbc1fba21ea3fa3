"""V, M and C as one policy in an environment's loop (paper, Listing 1), for one environment on one CPU thread.

All of it is NumPy, so a worker process starts without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vmc.envs import Squash, action_squash, make_env
from vmc.episode import Action, Frame
from vmc.models.checkpoints import dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.models.controller import Controller, ControllerSettings
from vmc.models.vision import Encoder, make_encoder
from vmc.policies import Exploration
from vmc.storage.checkpoint import Checkpoint

Array = npt.NDArray[np.float32]


class Memory:
    """M's recurrence alone: no mixture, no heads.

    Args:
        weights: M's arrays by their PyTorch names, as in its checkpoint.
    """

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        from_inputs, from_hidden = weights["lstm.weight_ih_l0"], weights["lstm.weight_hh_l0"]
        self._weights = np.concatenate([from_inputs, from_hidden], axis=1)
        self._bias = weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"]
        self.size = from_hidden.shape[1]

    def reset(self) -> None:
        """Begins an episode: a state of zeros."""
        self.h = np.zeros(self.size, np.float32)
        self.c = np.zeros(self.size, np.float32)

    def step(self, latent: Array, action: Array) -> None:
        """Moves the state by one step; latent (Z,), action (A,)."""
        gates = self._weights @ np.concatenate([latent, action, self.h]) + self._bias
        size = self.size
        # tanh(x / 2) / 2 + 1 / 2 is the sigmoid without an overflow.
        gates[: 2 * size] = 0.5 * np.tanh(0.5 * gates[: 2 * size]) + 0.5
        gates[2 * size : 3 * size] = np.tanh(gates[2 * size : 3 * size])
        gates[3 * size :] = 0.5 * np.tanh(0.5 * gates[3 * size :]) + 0.5
        update, keep, new, output = gates.reshape(4, size)
        self.c = keep * self.c + update * new
        self.h = output * np.tanh(self.c)


class Agent:
    """Sees a frame, acts, and remembers.

    C's h is M's state before it sees this frame's z (the paper's Listing 1), and M sees the action that was really
    applied, exploration noise included.

    Args:
        sample_latents: whether z is drawn from V's posterior, as M's training data were, or is its mean.
        noise: of the exploration, for collecting; 0 has none.
    """

    def __init__(
        self, vision: Encoder, memory: Memory, squash: Squash, sample_latents: bool, noise: float = 0.0
    ) -> None:
        self._vision = vision
        self._memory = memory
        self._squash = squash
        self._sample_latents = sample_latents
        self._exploration = Exploration(squash.size, noise) if noise else None
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
        action = self._squash(outputs)
        self._memory.step(latent, action)
        return action


def load_body(run: Path, env: str) -> tuple[Agent, ControllerSettings]:
    """An agent without a controller, from a run's V and M, and the shape that a linear C on [z, h] has.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong.
    """
    vae = vae_checkpoint(run, env)
    return _body(vae, dynamics_checkpoint(run, vae), env, noise=0.0)


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


def _body(vae: Checkpoint, dynamics: Checkpoint, env: str, noise: float) -> tuple[Agent, ControllerSettings]:
    made = make_env(env)
    squash = action_squash(env, made)
    made.close()
    vision, memory = make_encoder(vae), Memory(dynamics.weights)
    agent = Agent(vision, memory, squash, dynamics.info["sample_latents"], noise)
    agent.source = {"vae": vae.sha256, "dynamics": dynamics.sha256}
    return agent, ControllerSettings(vision.latent_size, memory.size, squash.size)
