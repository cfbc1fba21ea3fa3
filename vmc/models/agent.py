"""V, M and C as one policy in an environment's loop (paper, Listing 1), for one environment on one CPU thread.

A worker process runs it with NumPy and ONNX Runtime, so it starts without torch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

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
from vmc.models.controller import Array, Controller, LinearController, LinearSettings, PlannerSettings
from vmc.models.dynamics import StepModel, make_step
from vmc.models.dynamics.state import State
from vmc.models.graph import used_weights
from vmc.models.vision.encoder import ENCODER, Encoder
from vmc.policies import ActionNoise
from vmc.storage.checkpoint import Checkpoint, read_sidecar


class Planner(Protocol):
    """Stands between C and the action: searches in M's dream, at every step, for better outputs than C's."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begins an episode, with a random stream of its own."""
        ...

    def plan(self, state: State, controller: Any) -> Array:
        """The outputs (A,) to take at M's state, with a C that may propose some."""
        ...


class Agent:
    """A `Policy`: encodes the frame, asks C, and keeps M's state.

    C reads M's features from before M sees this frame's z (the paper's Listing 1). M sees the action that was really
    applied, action noise included.

    Args:
        encoder: V's.
        dynamics: M's part in the loop.
        sample_latents: whether z is drawn from V's posterior, as M's training data were, or is its mean.
        action_noise: for collecting; 0 has none.
        planner: searches around C's outputs; without it, C acts by itself.

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
        planner: Planner | None = None,
    ) -> None:
        self._encoder = encoder
        self._dynamics = dynamics
        self._action_map = action_map
        self._sample_latents = sample_latents
        self._planner = planner
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
        if self._planner is not None:
            self._planner.reset(rng)
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
        if self._planner is None:
            outputs = self._controller.act(features)
        else:
            outputs = self._planner.plan(self._state, self._controller)
        self._action = self._action_map(outputs if self._noise is None else self._noise(outputs))
        return Decision(self._action, latent, features, outputs)

    def correct(self, action: Action) -> None:
        """Says that another action (A,) than the last decision's is applied, so that M sees that one."""
        self._action = action


@dataclass(frozen=True)
class Body:
    """V and M as an agent needs them. It is picklable: a worker on another machine makes its agent of it.

    Attributes:
        vae: V's checkpoint, with the arrays of the encoder alone.
        dynamics: M's.
    """

    vae: Checkpoint
    dynamics: Checkpoint

    @property
    def source(self) -> dict[str, str]:
        """The hashes of V and M."""
        return {"vae": self.vae.sha256, "dynamics": self.dynamics.sha256}

    def agent(self, action_noise: float = 0.0, planning: PlannerSettings | None = None) -> Agent:
        """An agent without a controller.

        Args:
            planning: of a planner, which takes a `LinearController` alone; without it, C acts by itself.
        """
        info = self.dynamics.info
        action_map = action_map_from_json(info["action_map"])
        if planning is None:
            step, planner = make_step(info["kind"], self.dynamics.weights, self.dynamics.graphs), None
        else:
            step, planner = self._planning_parts(planning)
        agent = Agent(Encoder(self.vae), step, action_map, info["sample_latents"], action_noise, planner)
        agent.source = self.source
        return agent

    def _planning_parts(self, planning: PlannerSettings) -> tuple[StepModel, Planner]:
        # A worker without a planner needs no torch.
        from vmc.models.dynamics.torch_step import TorchStep
        from vmc.models.loading import dynamics_of
        from vmc.models.planner import CrossEntropyPlanner

        model, action_map = dynamics_of(self.dynamics), action_map_from_json(self.dynamics.info["action_map"])
        return TorchStep(model), CrossEntropyPlanner(planning, model.frozen(), action_map)

    def controller_shape(self, inputs: str, hidden_units: int = 0) -> LinearSettings:
        """The shape of a C that reads these features.

        Raises:
            VmcError: M does not have them.
        """
        info = self.dynamics.info
        sizes = info["features"]
        missing = [name for name in inputs if name not in sizes]
        if missing:
            raise VmcError(
                f"C's inputs are {inputs!r}, but M in {self.dynamics.path.parent} ({info['kind']}) has no feature "
                f"{missing[0]!r}.",
                f"Its features are {', '.join(sizes)}: give --inputs {''.join(sizes)}, or train another kind of M.",
            )
        action_size = action_map_from_json(info["action_map"]).size
        return LinearSettings(inputs, sum(sizes[name] for name in inputs), action_size, hidden_units)


def load_body(run: Path, env: str) -> Body:
    """A run's V and M.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong.
    """
    vae = vae_checkpoint(run, env)
    encoder = replace(vae, weights=used_weights(vae.graphs[ENCODER], vae.weights))
    return Body(encoder, dynamics_checkpoint(run, vae))


def make_agent(body: Body, controller: StoredController, action_noise: float = 0.0) -> Agent:
    """V, M and C, ready to act."""
    agent = body.agent(action_noise, controller.planning)
    agent.use(LinearController(controller.settings, controller.parameters))
    agent.source["controller"] = controller.sha256
    return agent


def load_agent(run: Path, env: str, action_noise: float = 0.0, name: str = "best") -> Agent:
    """A run's V, M and C, ready to act.

    Args:
        name: which C: the `best`, or the `latest`, the mean of the search where it stands.

    Raises:
        VmcError: a checkpoint that is missing, corrupt, or does not belong.
    """
    body = load_body(run, env)
    return make_agent(body, load_controller(run, body.vae, body.dynamics, name), action_noise)


class CandidatePolicy:
    """Acts in each episode with another C, drawn around the search's mean at its step size.

    A search in the dream scores candidates, so M has to see what they do in the real environment.
    """

    def __init__(self, body: Body, mean: StoredController, step_size: float) -> None:
        self._agent = body.agent()
        self._mean = mean
        self._step_size = step_size

    def reset(self, rng: np.random.Generator) -> None:
        parameters = self._mean.parameters + self._step_size * rng.standard_normal(len(self._mean.parameters))
        self._agent.use(LinearController(self._mean.settings, parameters))
        self._agent.reset(rng)

    def act(self, frame: Frame) -> Decision:
        return self._agent.act(frame)


def step_size_of(run: Path) -> float | None:
    """The step size of a run's search where it stands; None where C was not found among candidates.

    Raises:
        VmcError: the search's state is missing or corrupt.
    """
    info = read_sidecar(controller_folder(run), "latest", TRAIN_CONTROLLER)["info"]
    attributes = info["trainer"].get("attributes")
    return float(attributes["sigma"]) if attributes else None
