"""C as a planner: the cross-entropy method in M's dream, at every step (PlaNet: Hafner et al., 2019, algorithm 2).

The plan is made of C's outputs, before the action map. It begins at what the steps before have planned.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vmc.envs import ActionMap
from vmc.envs.action_map import OneHotActionMap
from vmc.models.controller import Array, LinearController, PlannerSettings, population_outputs
from vmc.models.dynamics.contract import Imaginer
from vmc.models.dynamics.noise import Noise, draw_batch_noise
from vmc.models.dynamics.state import State

# The best tenth of the candidates makes the next distribution, as in PlaNet.
_ELITE_SHARE = 0.1
# A controller that was trained proposes this share of the candidates, with noise of this standard deviation.
_PROPOSED_SHARE, _PROPOSAL_STD = 0.1, 0.3
# Of the next distribution over discrete actions: no action dies out.
_UNIFORM_SHARE = 0.05


class Distribution(Protocol):
    """Independent distributions over the outputs of each planned step; `mean` is (T, A)."""

    mean: Tensor

    def sample(self, count: int, rng: np.random.Generator) -> Tensor:
        """(T, N, A)."""
        ...

    def fit(self, elites: Tensor) -> None:
        """Becomes the distribution of these samples, (T, E, A)."""
        ...


class GaussianPlan:
    """Normal outputs. The standard deviation begins at 1 in every step."""

    def __init__(self, mean: Tensor) -> None:
        self.mean, self._std = mean, torch.ones_like(mean)

    def sample(self, count: int, rng: np.random.Generator) -> Tensor:
        steps, size = self.mean.shape
        drawn = torch.from_numpy(rng.standard_normal((steps, count, size), np.float32)).to(self.mean.device)
        return self.mean[:, None] + self._std[:, None] * drawn

    def fit(self, elites: Tensor) -> None:
        self.mean, self._std = elites.mean(dim=1), elites.std(dim=1, correction=0)


class CategoricalPlan:
    """Logits of discrete actions: the largest output of a sample is a draw from their softmax (Gumbel's trick)."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean

    def sample(self, count: int, rng: np.random.Generator) -> Tensor:
        steps, size = self.mean.shape
        drawn = torch.from_numpy(rng.gumbel(size=(steps, count, size)).astype(np.float32)).to(self.mean.device)
        return self.mean[:, None] + drawn

    def fit(self, elites: Tensor) -> None:
        size = elites.shape[-1]
        shares = F.one_hot(elites.argmax(dim=-1), size).to(elites.dtype).mean(dim=1)
        self.mean = ((1 - _UNIFORM_SHARE) * shares + _UNIFORM_SHARE / size).log()


class CrossEntropyPlanner:
    """Plans `plan_steps` ahead with every step, and takes the plan's first outputs.

    All candidates of an iteration meet the same random numbers of M. A candidate's return is the sum of its expected
    rewards, each times the probability that the dream has not terminated before it.

    Args:
        model: M, with weights that do not change any more.
    """

    def __init__(self, settings: PlannerSettings, model: Imaginer, action_map: ActionMap) -> None:
        self._settings, self._model, self._action_map = settings, model, action_map
        self._plan = CategoricalPlan if isinstance(action_map, OneHotActionMap) else GaussianPlan

    def reset(self, rng: np.random.Generator) -> None:
        """Begins an episode: nothing is planned yet."""
        self._rng = rng
        # The rest of the last plan, (T, A).
        self._planned: Tensor | None = None

    @torch.no_grad()
    def plan(self, state: State, controller: LinearController) -> Array:
        """The outputs to take at M's state, of one row.

        Args:
            controller: proposes some of the candidates, unless its parameters are all 0.

        Returns:
            (A,) before the action map.
        """
        settings = self._settings
        proposed = self._proposed(state, controller) if controller.parameters.any() else None
        plan = self._plan(self._first_mean(state, proposed))
        fresh = settings.plan_candidates - (0 if proposed is None else proposed.shape[1])
        start = state.tiled(settings.plan_candidates)
        num_elites = max(int(_ELITE_SHARE * settings.plan_candidates), 2)
        for _ in range(settings.plan_iterations):
            outputs = plan.sample(fresh, self._rng)
            if proposed is not None:
                outputs = torch.cat([outputs, proposed], dim=1)
            best = self._returns(start, outputs).topk(num_elites).indices
            plan.fit(outputs[:, best])
        # The next step begins with the rest of this plan; nothing is known of the step after it.
        self._planned = torch.cat([plan.mean[1:], torch.zeros_like(plan.mean[:1])])
        outputs_now: Array = plan.mean[0].cpu().numpy()
        return outputs_now

    def _first_mean(self, state: State, proposed: Tensor | None) -> Tensor:
        if self._planned is not None:
            return self._planned
        if proposed is not None:
            return proposed.mean(dim=1)
        return torch.zeros(self._settings.plan_steps, self._action_map.size, device=state[0].device)

    def _returns(self, state: State, outputs: Tensor) -> Tensor:
        """The expected returns of candidates (T, N, A), (N,)."""
        actions = self._action_map.torch(outputs)
        noise = self._noise(len(state[0]), outputs.device)
        total, alive = outputs.new_zeros(len(state[0])), outputs.new_ones(len(state[0]))
        for t, action in enumerate(actions):
            state, rewards, terminations = self._model.imagine(state, action, noise.at(t), self._settings.temperature)
            total += alive * rewards
            alive *= 1 - terminations
        return total

    def _proposed(self, state: State, controller: LinearController) -> Tensor:
        """The outputs of C along dreams of its own, with noise: (T, P, A)."""
        count = max(int(_PROPOSED_SHARE * self._settings.plan_candidates), 1)
        state, noise = state.tiled(count), self._noise(count, state[0].device)
        parameters = torch.from_numpy(controller.parameters)[None].to(state[0].device)
        shape = (self._settings.plan_steps, count, self._action_map.size)
        drawn = torch.from_numpy(self._rng.standard_normal(shape, np.float32)).to(state[0].device)
        outputs = []
        for t in range(self._settings.plan_steps):
            proposal = population_outputs(controller.settings, parameters, self._model.features(state))
            outputs.append(proposal + _PROPOSAL_STD * drawn[t])
            actions = self._action_map.torch(outputs[-1])
            state = self._model.imagine(state, actions, noise.at(t), self._settings.temperature).state
        return torch.stack(outputs)

    def _noise(self, count: int, device: torch.device) -> Noise:
        """The numbers of one dream for all candidates."""
        drawn = draw_batch_noise(self._rng, self._settings.plan_steps, 1, self._model.noise_sizes, device)
        return Noise(*(part.expand(-1, count, *part.shape[2:]) for part in drawn))
