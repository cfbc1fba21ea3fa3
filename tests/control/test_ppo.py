"""PPO: that it learns what a dream rewards, its arithmetic, and its batches of episodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from signs import check_resume, signs_action, signs_dream

from vmc.control.experience import DreamCollect, Experience, side_by_side
from vmc.control.output_noise import draw_output_noise
from vmc.control.ppo import PPO, PPOSettings
from vmc.control.real_experience import Episode
from vmc.control.stochastic_actor import StochasticActor, lambda_returns
from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld
from vmc.models.controller import LinearSettings

SETTINGS = PPOSettings(
    epochs=4,
    entropy=1e-3,
    discount=0.9,
    trace=0.95,
    policy_learning_rate=2e-2,
    learning_rate=2e-2,
    noise=0.6,
    final_noise=0.2,
    noise_generations=20,
    seed=0,
)


def _trainer(sign: float = 1.0, discrete: bool = False, deadly: bool = False, hidden_units: int = 0) -> PPO:
    model, starts, action_map = signs_dream(sign, discrete, deadly)
    collect = DreamCollect(DreamWorld(model), lambda: starts, action_map, DreamSettings(horizon=5), 64, 0, 0)
    shape = LinearSettings("z", 1, action_map.size, hidden_units)
    return PPO(SETTINGS, collect, shape, discrete, torch.device("cpu"), mean=None, phase=0)


@pytest.mark.parametrize("hidden_units", [0, 8])
@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_it_learns_the_action_that_the_state_asks_for(sign: float, discrete: bool, hidden_units: int) -> None:
    trainer = _trainer(sign, discrete, hidden_units=hidden_units)
    first = trainer.train(1, lambda _: None)
    for generation in range(2, 31):
        last = trainer.train(generation, lambda _: None)
    assert signs_action(trainer.parameters, 1.0, discrete, hidden_units) * sign > 0.8
    assert signs_action(trainer.parameters, -1.0, discrete, hidden_units) * sign < -0.8
    assert last.metrics["mean"] > max(first.metrics["mean"] + 1, 3)
    assert last.num_steps == 64 * 5


@pytest.mark.parametrize("discrete", [False, True])
def test_it_forgoes_a_reward_that_ends_the_dream(discrete: bool) -> None:
    trainer = _trainer(deadly=True, discrete=discrete)
    lengths = [trainer.train(generation, lambda _: None).metrics["mean_length"] for generation in range(1, 31)]
    assert min(signs_action(trainer.parameters, z, discrete) for z in (1.0, -1.0)) > 0.5
    assert lengths[0] < 3  # half of the first actions end the dream: 1.9 steps
    assert lengths[-1] > 4.5


def test_a_restored_trainer_goes_on_to_the_bit() -> None:
    check_resume(_trainer)


def test_the_noise_falls_ever_faster_and_stays() -> None:
    trainer = _trainer()
    noise = [trainer.train(generation, lambda _: None).metrics["noise"] for generation in range(1, 24)]
    assert noise[0] == pytest.approx(0.6)
    assert noise[20:] == pytest.approx([0.2] * 3)
    assert (np.diff(np.log(noise[:21]), 2) < 0).all()


def _episode(rng: np.random.Generator, length: int, terminated: bool) -> Episode:
    shapes = (length + 1, 2), (length, 1), (length,)
    return Episode(*(rng.normal(size=shape).astype(np.float32) for shape in shapes), terminated)


def test_episodes_side_by_side_have_the_returns_that_each_has_alone() -> None:
    rng = np.random.default_rng(0)
    episodes = [_episode(rng, *each) for each in ((3, True), (7, False), (5, False), (7, True), (1, False))]

    def returns(experience: Experience) -> torch.Tensor:
        values = experience.features.sum(dim=-1)  # any function of a frame
        return lambda_returns(experience.rewards, values, experience.discounts(0.9), 0.8)

    together = side_by_side(episodes)
    for column, episode in enumerate(episodes):
        length = len(episode.rewards)
        torch.testing.assert_close(returns(together)[:length, column], returns(side_by_side([episode]))[:, 0])
        assert together.mask[:, column].tolist() == [1.0] * length + [0.0] * (7 - length)
        assert together.returns[column].item() == pytest.approx(episode.rewards.sum(), rel=1e-5)


def test_noisy_discrete_outputs_are_draws_from_the_softmax_at_their_scale() -> None:
    actor = StochasticActor(LinearSettings("z", 1, 3), np.zeros(6), scale=0.5, is_discrete=True)
    outputs = torch.tensor([0.3, -0.2, 0.6]).expand(40_000, 3)
    drawn = torch.from_numpy(draw_output_noise(np.random.default_rng(0), (40_000, 3), is_discrete=True))
    shares = torch.bincount(actor.noisy(outputs, drawn).argmax(dim=-1)) / 40_000
    one_each = torch.eye(3)
    expected = actor.likelihood(outputs[:3], one_each)[0].exp()
    torch.testing.assert_close(expected, (outputs[0] / 0.5).softmax(dim=-1))
    assert (shares - expected).abs().max() < 0.0125  # five standard errors
