"""V, M and C as one policy in an environment's loop (paper, Listing 1), for one environment on one CPU thread.

A worker process runs it with NumPy and ONNX Runtime, so it starts without torch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vmc.envs import ActionMap, action_map_from_json
from vmc.episode import Action, Decision, Frame
from vmc.errors import VmcError
from vmc.models.checkpoints import (
    TRAIN_CONTROLLER,
    StoredController,
    controller_folder,
    dynamics_checkpoint,
    load_controller,
    vae_checkpoint,
)
from vmc.models.controller import Controller, LinearController, LinearSettings
from vmc.models.dynamics import StepModel, make_step
from vmc.models.vision.encoder import Encoder
from vmc.policies import ActionNoise
from vmc.storage.checkpoint import Checkpoint, read_sidecar


class Agent:
    """A `Policy`: encodes the frame, asks C, and keeps M's state.

    C reads M's features from before M sees this frame's z (the paper's Listing 1). M sees the action that was really
    applied, action noise included.

    Args:
        encoder: V's.
        dynamics: M's part in the loop.
        sample_latents: whether z is drawn from V's posterior, as M's training data were, or is its mean.
        action_noise: for collecting; 0 has none.

    Attributes:
        source: the hashes of V, M and C.
    """

    def __init__(
        self,
        encoder: Encoder,
        dynamics: StepModel,
        action_map: ActionMap,
        sample_latents: bool,
        action_noise: float = 0.0,
    ) -> None:
        self._encoder = encoder
        self._dynamics = dynamics
        self._action_map = action_map
        self._sample_latents = sample_latents
        self._noise = ActionNoise(action_map.size, action_noise) if action_noise else None
        self.source: dict[str, str] = {}
        self._action: Action

    def use(self, controller: Controller) -> None:
        """Acts with this C from now on."""
        self._controller = controller

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._at_first_frame = True
        self._controller.reset(rng)
        if self._noise is not None:
            self._noise.reset(rng)

    def act(self, frame: Frame) -> Decision:
        """Decides, and tells from what: z, M's features and C's outputs."""
        latent, log_variance = self._encoder.encode(frame)
        if self._sample_latents:
            noise = self._rng.standard_normal(len(latent), dtype=np.float32)
            latent = latent + np.exp(0.5 * log_variance) * noise
        if self._at_first_frame:
            self._state, self._at_first_frame = self._dynamics.initial(latent), False
        else:
            self._state = self._dynamics.observe(self._state, self._action, latent)
        features = self._dynamics.features(self._state)
        outputs = self._controller.act(features)
        self._action = self._action_map(outputs if self._noise is None else self._noise(outputs))
        return Decision(self._action, latent, features, outputs)

    def correct(self, action: Action) -> None:
        """Says that another action (A,) than the last decision's is applied, so that M sees that one."""
        self._action = action


def load_body(run: Path, env: str, inputs: str = "zh", hidden_units: int = 0) -> tuple[Agent, LinearSettings]:
    """An agent without a controller, from a run's V and M, and the shape of a C for it.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong; C is to read features that M does not have.
    """
    vae = vae_checkpoint(run, env)
    dynamics = dynamics_checkpoint(run, vae)
    sizes = dynamics.info["features"]
    missing = [name for name in inputs if name not in sizes]
    if missing:
        raise VmcError(
            f"C's inputs are {inputs!r}, but M in {run} ({dynamics.info['kind']}) has no feature {missing[0]!r}.",
            f"Its features are {', '.join(sizes)}: give --inputs {''.join(sizes)}, or train another kind of M.",
        )
    agent = _body(vae, dynamics)
    action_size = action_map_from_json(dynamics.info["action_map"]).size
    return agent, LinearSettings(inputs, sum(sizes[name] for name in inputs), action_size, hidden_units)


def load_agent(run: Path, env: str, action_noise: float = 0.0, name: str = "best") -> Agent:
    """A run's V, M and C, ready to act.

    Args:
        name: which C: the `best`, or the `latest`, the mean of the search where it stands.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong.
    """
    vae = vae_checkpoint(run, env)
    dynamics = dynamics_checkpoint(run, vae)
    controller = load_controller(run, vae, dynamics, name)
    agent = _body(vae, dynamics, action_noise)
    agent.use(LinearController(controller.settings, controller.parameters))
    agent.source["controller"] = controller.sha256
    return agent


class CandidatePolicy:
    """Acts in each episode with another C, drawn around the search's mean at its step size.

    A search in the dream scores candidates, so M has to see what they do in the real environment.
    """

    def __init__(self, agent: Agent, mean: StoredController, step_size: float) -> None:
        self._agent = agent
        self._mean = mean
        self._step_size = step_size

    def reset(self, rng: np.random.Generator) -> None:
        parameters = self._mean.parameters + self._step_size * rng.standard_normal(len(self._mean.parameters))
        self._agent.use(LinearController(self._mean.settings, parameters))
        self._agent.reset(rng)

    def act(self, frame: Frame) -> Decision:
        return self._agent.act(frame)


def load_candidates(run: Path, env: str) -> CandidatePolicy:
    """The candidates of a run's search where it stands.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong.
    """
    vae = vae_checkpoint(run, env)
    dynamics = dynamics_checkpoint(run, vae)
    info = read_sidecar(controller_folder(run), "latest", TRAIN_CONTROLLER)["info"]
    mean = load_controller(run, vae, dynamics, "latest")
    return CandidatePolicy(_body(vae, dynamics), mean, info["trainer"]["attributes"]["sigma"])


def _body(vae: Checkpoint, dynamics: Checkpoint, action_noise: float = 0.0) -> Agent:
    step = make_step(dynamics.info["kind"], dynamics.weights, dynamics.graphs)
    action_map = action_map_from_json(dynamics.info["action_map"])
    agent = Agent(Encoder(vae), step, action_map, dynamics.info["sample_latents"], action_noise)
    agent.source = {"vae": vae.sha256, "dynamics": dynamics.sha256}
    return agent
