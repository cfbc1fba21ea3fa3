"""The planner: its cross-entropy method on functions with a known optimum, and what it does in dreams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from vmc.envs import ActionMap, BoxActionMap
from vmc.envs.action_map import OneHotActionMap
from vmc.models.controller import LinearController, LinearSettings, PlannerSettings
from vmc.models.dynamics.contract import Features, Imagined
from vmc.models.dynamics.noise import Noise, NoiseSizes
from vmc.models.dynamics.state import State
from vmc.models.planner import CategoricalPlan, CrossEntropyPlanner, GaussianPlan

SETTINGS = PlannerSettings(plan_steps=4, plan_iterations=8, plan_candidates=200, temperature=1.0)
CONTINUOUS = BoxActionMap.from_bounds([-1.0], [1.0])


def test_the_normal_plan_finds_a_quadratics_optimum() -> None:
    rng, optimum = np.random.default_rng(0), torch.tensor([[0.5, -1.5], [2.0, 0.0], [-0.3, 0.9]])
    plan = GaussianPlan(torch.zeros(3, 2))
    for _ in range(25):
        candidates = plan.sample(300, rng)
        errors = (candidates - optimum[:, None]).square().sum(dim=(0, 2))
        plan.fit(candidates[:, (-errors).topk(30).indices])
    np.testing.assert_allclose(plan.mean, optimum, atol=0.02)


def test_the_categorical_plan_finds_the_best_sequence() -> None:
    rng, best = np.random.default_rng(0), torch.tensor([2, 0, 1, 2])
    plan = CategoricalPlan(torch.zeros(4, 3))
    for _ in range(10):
        candidates = plan.sample(200, rng)
        hits = (candidates.argmax(dim=-1) == best[:, None]).sum(dim=0)
        plan.fit(candidates[:, hits.topk(20).indices])
    assert plan.mean.argmax(dim=-1).tolist() == best.tolist()


def test_the_categorical_plan_draws_from_the_softmax() -> None:
    """20,000 draws; a share is off by more than 0.02 once in 10^8."""
    logits = torch.tensor([[0.0, 1.0, -1.0]])
    shares = torch.bincount(CategoricalPlan(logits).sample(20_000, np.random.default_rng(0)).argmax(dim=-1)[0]) / 20_000
    np.testing.assert_allclose(shares, logits.softmax(dim=-1)[0], atol=0.02)


@dataclass
class _Line:
    """A point on a line, that actions move: z' = z + a / 2, and the reward is minus the distance to a goal.

    Beyond a cliff the dream has terminated.
    """

    goal: float
    cliff: float = np.inf
    bonus: float = 0.0  # for each step that is alive
    noise_sizes = NoiseSizes(1, 2)

    def imagine(self, state: State, actions: Tensor, noise: Noise, temperature: float) -> Imagined:
        value = actions[:, 0] if actions.shape[1] == 1 else actions[:, 1] - actions[:, 0]
        assert noise.uniform.shape == (len(value), 1)
        assert noise.normal.shape == (len(value), 2)
        position = state[0][:, 0] + value / 2
        rewards = self.bonus - (position - self.goal).abs()
        return Imagined(State((position[:, None],)), rewards, (position > self.cliff).float())

    def features(self, state: State) -> Features:
        return {"z": state[0]}

    def latents(self, state: State) -> Tensor:
        latents: Tensor = state[0]
        return latents

    def with_latents(self, state: State, latents: Tensor) -> State:
        return State((latents,))


def _walk(
    model: _Line, action_map: ActionMap, steps: int = 8, weight: float = 0.0, settings: PlannerSettings = SETTINGS
) -> list[float]:
    """The positions from 0 on under the planner, with a C that is linear in the position."""
    planner = CrossEntropyPlanner(settings, model, action_map)
    planner.reset(np.random.default_rng(0))
    controller = LinearController(LinearSettings("z", 1, action_map.size), np.full(action_map.size * 2, weight))
    state, positions = State((torch.zeros(1, 1),)), []
    noise = Noise(torch.zeros(1, 1), torch.zeros(1, 2), torch.zeros(1))
    for _ in range(steps):
        action = torch.from_numpy(action_map(planner.plan(state, controller)))[None]
        state = model.imagine(state, action, noise, 1.0).state
        positions.append(float(state[0]))
    return positions


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("goal", [2.0, -2.0])
def test_it_goes_where_the_reward_is(goal: float, discrete: bool) -> None:
    positions = _walk(_Line(goal), OneHotActionMap(2) if discrete else CONTINUOUS)
    assert positions[0] * goal > 0
    assert abs(positions[-1] - goal) < (0.51 if discrete else 0.2)


def test_it_does_not_plan_past_a_termination() -> None:
    """The goal is nearer beyond the cliff, but to live is worth more."""
    positions = _walk(_Line(goal=3.0, cliff=1.0, bonus=5.0), CONTINUOUS, steps=12)
    assert 0.5 < max(positions) <= 1.0


def test_a_trained_controller_proposes() -> None:
    """One iteration of few candidates finds little by itself; C goes to the goal at once."""
    few = PlannerSettings(plan_steps=4, plan_iterations=1, plan_candidates=20, temperature=1.0)
    alone, helped = (_walk(_Line(goal=8.0), CONTINUOUS, steps=2, weight=w, settings=few) for w in (0.0, 3.0))
    assert helped[-1] > alone[-1] + 0.1


def test_an_episode_depends_on_its_random_stream_alone() -> None:
    planner = CrossEntropyPlanner(SETTINGS, _Line(2.0), CONTINUOUS)
    controller, state = LinearController(LinearSettings("z", 1, 1), np.zeros(2)), State((torch.zeros(1, 1),))
    episodes = []
    for seed in (3, 4, 3):
        planner.reset(np.random.default_rng(seed))
        episodes.append([planner.plan(state, controller).tolist() for _ in range(3)])
    assert episodes[0] == episodes[2] != episodes[1]
