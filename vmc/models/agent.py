"""V, M and C as one policy in an environment's loop (paper, Listing 1), for one environment on one CPU thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vmc.envs import ActionSquash, action_squash, make_env
from vmc.episode import Action, Frame
from vmc.models.controller import ControllerSettings, LinearController
from vmc.models.dynamics import MDNRNN
from vmc.models.loading import load_controller, load_dynamics, load_vae
from vmc.models.vae import ConvVAE, to_input
from vmc.policies import OrnsteinUhlenbeck

Array = npt.NDArray[np.float32]
_NOISE_CORRELATION_STEPS = 10.0


class Vision:
    """V's encoder alone: a frame to its latent. The decoder is never run here."""

    def __init__(self, vae: ConvVAE) -> None:
        self._vae = vae

    @torch.inference_mode()
    def encode(self, frame: Frame) -> tuple[Array, Array]:
        """uint8 (64, 64, 3) to the posterior's mean and log-variance, each (Z,)."""
        mean, log_variance = self._vae.encode(to_input(torch.from_numpy(frame[None])))
        return mean[0].numpy(), log_variance[0].numpy()


class Memory:
    """M's recurrence alone, in NumPy: for one environment a fifth of the cost of PyTorch's."""

    def __init__(self, dynamics: MDNRNN) -> None:
        from_inputs, from_hidden, bias, second_bias = dynamics.lstm.all_weights[0]
        self._weights = torch.cat([from_inputs, from_hidden], dim=1).detach().numpy()
        self._bias = (bias + second_bias).detach().numpy()
        self._size = dynamics.settings.hidden_size

    def reset(self) -> None:
        """Begins an episode: a state of zeros."""
        self.h = np.zeros(self._size, np.float32)
        self._c = np.zeros(self._size, np.float32)

    def step(self, latent: Array, action: Array) -> None:
        """Moves the state by one step; latent (Z,), action (A,)."""
        gates = self._weights @ np.concatenate([latent, action, self.h]) + self._bias
        size = self._size
        # tanh(x / 2) / 2 + 1 / 2 is the sigmoid without an overflow.
        gates[: 2 * size] = 0.5 * np.tanh(0.5 * gates[: 2 * size]) + 0.5
        gates[2 * size : 3 * size] = np.tanh(gates[2 * size : 3 * size])
        gates[3 * size :] = 0.5 * np.tanh(0.5 * gates[3 * size :]) + 0.5
        update, keep, new, output = gates.reshape(4, size)
        self._c = keep * self._c + update * new
        self.h = output * np.tanh(self._c)


class Agent:
    """Sees a frame, acts, and remembers.

    C's h is M's state before it sees this frame's z (the paper's Listing 1), and M sees the action that was really
    applied, exploration noise included.

    Args:
        sample_latents: whether z is drawn from V's posterior, as M's training data were, or is its mean.
        noise: standard deviation of correlated noise on C's outputs, for collecting.
    """

    def __init__(
        self, vision: Vision, memory: Memory, squash: ActionSquash, sample_latents: bool, noise: float = 0.0
    ) -> None:
        self._vision = vision
        self._memory = memory
        self._squash = squash
        self._sample_latents = sample_latents
        self._noise_scale = noise
        self._noise = OrnsteinUhlenbeck(squash.size, _NOISE_CORRELATION_STEPS)
        self.source: dict[str, str] = {}

    def use(self, controller: LinearController) -> None:
        """Drives with this C from now on."""
        self._controller = controller

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._memory.reset()
        self._noise.reset(rng)

    def act(self, frame: Frame) -> Action:
        latent, log_variance = self._vision.encode(frame)
        if self._sample_latents:
            noise = self._rng.standard_normal(len(latent), dtype=np.float32)
            latent = latent + np.exp(0.5 * log_variance) * noise
        outputs = self._controller(latent, self._memory.h)
        if self._noise_scale:
            outputs = outputs + self._noise_scale * self._noise.step().astype(np.float32)
        action = self._squash(outputs)
        self._memory.step(latent, action)
        return action


def load_body(run: Path, env: str, noise: float = 0.0) -> tuple[Agent, ControllerSettings]:
    """An agent without a controller, from a run's V and M, and the shape that its C has.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong.
    """
    torch.set_num_threads(1)
    vae, vae_checkpoint = load_vae(run)
    dynamics, checkpoint = load_dynamics(run, vae_checkpoint)
    made = make_env(env)
    squash = action_squash(env, made)
    made.close()
    agent = Agent(Vision(vae), Memory(dynamics), squash, checkpoint.info["sample_latents"], noise)
    agent.source = {"vae": vae_checkpoint.sha256, "dynamics": checkpoint.sha256}
    shape = ControllerSettings(vae.settings.latent_size, dynamics.settings.hidden_size, squash.size)
    return agent, shape


def load_agent(run: Path, env: str, noise: float = 0.0) -> Agent:
    """A run's V, M and C, ready to drive.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong.
    """
    agent, _ = load_body(run, env, noise)
    vae_checkpoint = load_vae(run)[1]
    controller = load_controller(run, vae_checkpoint, load_dynamics(run, vae_checkpoint)[1])
    settings, parameters, checkpoint = controller
    agent.use(LinearController(settings, parameters))
    agent.source = agent.source | {"controller": checkpoint.sha256}
    return agent
