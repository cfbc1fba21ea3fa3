"""The actor-critic: its arithmetic against loops, and that it learns what a dream rewards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from signs import check_resume, signs_action, signs_dream

from vmc.control.actor_critic import GRADIENTS, REINFORCE, THROUGH_DREAM, ActorCritic, ActorCriticSettings
from vmc.control.stochastic_actor import lambda_returns
from vmc.dream.settings import DreamSettings
from vmc.errors import VmcError
from vmc.models.controller import LinearSettings


def _trainer(
    sign: float = 1.0,
    discrete: bool = False,
    deadly: bool = False,
    hidden_units: int = 0,
    gradient: str = REINFORCE,
) -> ActorCritic:
    settings = ActorCriticSettings(
        updates=20,
        imagined_dreams=64,
        imagined_steps=5,
        discount=0.9,
        trace=0.95,
        entropy=1e-3,
        learning_rate=2e-2,
        gradient=gradient,
        seed=0,
    )
    model, starts, action_map = signs_dream(sign, discrete, deadly)
    shape = LinearSettings("z", 1, action_map.size, hidden_units)
    parts = model, lambda: starts, shape, action_map, DreamSettings()
    return ActorCritic(settings, *parts, mean=None, phase=0)


@pytest.mark.parametrize("hidden_units", [0, 8])
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_it_learns_the_action_that_the_state_asks_for(sign: float, discrete: bool, hidden_units: int) -> None:
    trainer = _trainer(sign, discrete, hidden_units=hidden_units)
    first = trainer.train(1, lambda _: None)
    for generation in range(2, 9):
        last = trainer.train(generation, lambda _: None)
    assert signs_action(trainer.parameters, 1.0, discrete, hidden_units) * sign > 0.8
    assert signs_action(trainer.parameters, -1.0, discrete, hidden_units) * sign < -0.8
    assert last.metrics["mean"] > max(first.metrics["mean"] + 1, 3)
    assert last.num_steps == 20 * 64 * 5


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_it_learns_by_gradients_through_the_dream(sign: float) -> None:
    trainer = _trainer(sign, gradient=THROUGH_DREAM)
    for generation in range(1, 5):
        trainer.train(generation, lambda _: None)
    assert signs_action(trainer.parameters, 1.0, discrete=False) * sign > 0.8
    assert signs_action(trainer.parameters, -1.0, discrete=False) * sign < -0.8


def test_gradients_through_the_dream_need_continuous_actions() -> None:
    with pytest.raises(VmcError, match=r"discrete actions(.|\n)*reinforce"):
        _trainer(discrete=True, gradient=THROUGH_DREAM)


@pytest.mark.parametrize("discrete", [False, True])
def test_it_forgoes_a_reward_that_ends_the_dream(discrete: bool) -> None:
    trainer = _trainer(deadly=True, discrete=discrete)
    for generation in range(1, 9):
        trainer.train(generation, lambda _: None)
    assert min(signs_action(trainer.parameters, z, discrete) for z in (1.0, -1.0)) > 0.5


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_restored_trainer_goes_on_to_the_bit(gradient: str) -> None:
    check_resume(lambda: _trainer(gradient=gradient))


def test_lambda_returns_are_the_sums_of_their_definition() -> None:
    """R_t is the mean of the n-step returns, weighted by lambda (Sutton and Barto, equation 12.3)."""
    rng = np.random.default_rng(0)
    rewards, values, trace, steps = rng.normal(size=6), rng.normal(size=7), 0.8, 6
    discounts = 0.9 * np.array([1, 1, 1, 0, 1, 1.0])

    def n_step(t: int, n: int) -> float:
        total, weight = 0.0, 1.0
        for k in range(n):
            total, weight = total + weight * rewards[t + k], weight * discounts[t + k]
        return total + weight * values[t + n]

    found = lambda_returns(*map(torch.from_numpy, (rewards, values, discounts)), trace)
    for t in range(steps):
        left = steps - t
        expected = sum((1 - trace) * trace ** (n - 1) * n_step(t, n) for n in range(1, left))
        expected += trace ** (left - 1) * n_step(t, left)
        assert found[t].item() == pytest.approx(expected)
