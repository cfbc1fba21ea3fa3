"""Episodes of a noisy C in the real environment, as a trainer learns from them. No torch: its workers need none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vmc.control.fitness import Array
from vmc.control.output_noise import NoisyController
from vmc.envs import make_env
from vmc.envs.action_map import OneHotActionMap, action_map_from_json
from vmc.episode import Decision, Limits, iterate_episode
from vmc.models.agent import Body
from vmc.models.controller import LinearController, LinearSettings
from vmc.seeding import stream

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ExperienceJob:
    """One episode.

    Attributes:
        parameters: C's, (N,).
        scale: of the noise on its outputs.
    """

    parameters: Array
    env_seed: int
    limits: Limits
    scale: float


class Episode(NamedTuple):
    """An episode of T steps.

    Attributes:
        features: C's inputs at each frame, (T + 1, I).
        outputs: noisy, (T, A).
        rewards: (T,).
        terminated: whether there is nothing to expect after it: it terminated, or was truncated for want of reward.
    """

    features: Floats
    outputs: Floats
    rewards: Floats
    terminated: bool


class ExperienceWorker:
    """Keeps an environment, V's encoder and M; runs whole episodes for any C of one shape."""

    def __init__(self, body: Body, env: str, shape: LinearSettings) -> None:
        self._agent, self._shape, self._env = body.agent(), shape, make_env(env)
        self._is_discrete = isinstance(action_map_from_json(body.dynamics.info["action_map"]), OneHotActionMap)

    def run(self, job: ExperienceJob) -> Episode:
        controller = LinearController(self._shape, job.parameters)
        self._agent.use(NoisyController(controller, job.scale, self._is_discrete))
        rng = stream(job.env_seed, "agent")
        features, outputs, rewards = [], [], list[float]()
        for step in iterate_episode(self._env, self._agent, job.env_seed, rng, job.limits):
            features.append(self._inputs(step.decision))
            outputs.append(step.decision.outputs)
            rewards.append(step.reward)
        features.append(self._inputs(self._agent.act(step.next_frame)))
        limit = job.limits.no_reward_limit
        is_lost = limit is not None and len(rewards) >= limit and max(rewards[-limit:]) <= 0
        return Episode(np.stack(features), np.array(outputs), np.array(rewards, np.float32), step.terminated or is_lost)

    def _inputs(self, decision: Decision) -> Floats:
        assert decision.features is not None  # an agent's
        return np.concatenate([decision.features[name] for name in self._shape.inputs])

    def close(self) -> None:
        self._env.close()
