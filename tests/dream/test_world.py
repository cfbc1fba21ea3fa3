import math

import numpy as np
import pytest
import torch

from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld, dream_along
from vmc.errors import VmcError
from vmc.models.dynamics import KINDS, MIXTURES
from vmc.models.dynamics.lstm import LSTM
from vmc.models.dynamics.noise import Noise, NoiseSizes, draw_noise, draw_numbers
from vmc.models.dynamics.state import State
from vmc.models.loading import make_dynamics
from vmc.models.mixture import MIN_LOG_STD
from vmc.seeding import stream

TINY = "tiny_dynamics:TinyDynamics"


def _lstm() -> LSTM:
    torch.manual_seed(0)
    return LSTM(LSTM.Settings(4, 2, 16)).eval()


def _start(dynamics: LSTM, batch_size: int) -> tuple[State, torch.Tensor]:
    return dynamics.initial(torch.zeros(batch_size, 4)), torch.zeros(batch_size, 2)


def _noise(batch_size: int) -> Noise:
    return Noise(torch.rand(batch_size, 4), torch.randn(batch_size, 4), torch.rand(batch_size))


@pytest.mark.parametrize(("kind", "mixture"), [*((kind, m) for kind in KINDS for m in MIXTURES), (TINY, "")])
def test_a_step_is_what_m_imagines(kind: str, mixture: str) -> None:
    torch.manual_seed(0)
    dynamics = make_dynamics(kind, latent_size=4, action_size=2, hidden_size=16, mixture=mixture).eval()
    world = DreamWorld(dynamics)
    state, actions = dynamics.initial(torch.randn(5, 4)), torch.randn(5, 2)
    state = dynamics.observe(state, actions, torch.randn(5, 4)).detach()
    noise = _noise(5)._replace(uniform=torch.rand(5, world.noise_sizes.uniform))
    step = world.step(state, actions, noise, DreamSettings(temperature=0.7))
    with torch.no_grad():
        expected = dynamics.imagine(state, actions, noise, 0.7)
    torch.testing.assert_close(tuple(step.state), tuple(expected.state))
    torch.testing.assert_close(step.rewards, expected.rewards)
    torch.testing.assert_close(step.terminations, expected.terminations)
    assert not any(part.requires_grad for part in step.state)
    torch.testing.assert_close(world.latents(step.state), dynamics.latents(step.state))
    torch.testing.assert_close(world.features(step.state), dynamics.features(step.state))


def test_a_dream_does_not_depend_on_its_neighbours() -> None:
    dynamics = _lstm()
    world = DreamWorld(dynamics)
    latents, actions, noise = torch.randn(6, 4), torch.randn(6, 2), _noise(6)
    whole = world.step(dynamics.initial(latents), actions, noise)
    third = Noise(*(numbers[2:3] for numbers in noise))
    alone = world.step(dynamics.initial(latents[2:3]), actions[2:3], third)
    torch.testing.assert_close(tuple(whole.state.rows(slice(2, 3))), tuple(alone.state))
    torch.testing.assert_close(whole.rewards[2:3], alone.rewards)


def test_stepping_leaves_the_state_before_as_it_was() -> None:
    dynamics = _lstm()
    state, actions = _start(dynamics, 3)
    before = state.map(torch.clone)
    DreamWorld(dynamics).step(state, actions, _noise(3))
    assert all(torch.equal(*parts) for parts in zip(state, before, strict=True))


@pytest.mark.parametrize(("bias", "terminated"), [(5.0, True), (-5.0, False)])
def test_termination_follows_the_head(bias: float, terminated: bool) -> None:
    dynamics = _lstm()
    with torch.no_grad():
        dynamics.termination.weight.zero_()
        dynamics.termination.bias.fill_(bias)
    step = DreamWorld(dynamics).step(*_start(dynamics, 3), _noise(3))
    assert step.terminated.tolist() == [terminated] * 3
    torch.testing.assert_close(step.terminations, torch.full((3,), bias).sigmoid())


@pytest.mark.parametrize(("threshold", "terminated"), [(0.19, True), (0.21, False)])
def test_a_dream_terminates_where_the_probability_exceeds_the_threshold(threshold: float, terminated: bool) -> None:
    dynamics = _lstm()
    with torch.no_grad():
        dynamics.termination.weight.zero_()
        dynamics.termination.bias.fill_(-math.log(4))  # 1 to 4: 0.2
    settings = DreamSettings(termination_threshold=threshold)
    step = DreamWorld(dynamics).step(*_start(dynamics, 3), _noise(3), settings)
    assert step.terminated.tolist() == [terminated] * 3


def test_sampled_terminations_have_the_frequency_that_m_was_trained_on() -> None:
    """M says 0.8 where terminations weighed 36 times their frequency: that is 4 / 36 = 0.1 to 1, or one in ten."""
    dynamics = _lstm()
    with torch.no_grad():
        dynamics.termination.weight.zero_()
        dynamics.termination.bias.fill_(math.log(4))
        dynamics.termination_weight.fill_(36)
    settings = DreamSettings(sample_termination=True)
    step = DreamWorld(dynamics).step(*_start(dynamics, 10_000), _noise(10_000), settings)
    # Six standard deviations of 10,000 draws: once in 500 million.
    assert step.terminated.float().mean().item() == pytest.approx(0.1, abs=6 * 0.003)


def test_dreaming_along_follows_a_world_without_noise() -> None:
    """An M whose mixture is a spike at 1 dreams exactly that, whatever the random numbers."""
    dynamics = _lstm()
    with torch.no_grad():
        dynamics.mixture.weight.zero_()
        bias = dynamics.mixture.bias.view(3, 4, 5)
        bias[0], bias[1], bias[2] = 0.0, 1.0, -50.0
    state, _ = _start(dynamics, 2)
    along = torch.zeros(2, 7, 2), np.random.default_rng(0), DreamSettings()
    latents, rewards = dream_along(DreamWorld(dynamics), state, *along)
    assert latents.shape == (2, 7, 4)
    assert rewards.shape == (2, 7)
    torch.testing.assert_close(latents, torch.ones(2, 7, 4), atol=6 * 2.72**MIN_LOG_STD, rtol=0)


def test_dreaming_along_is_the_world_stepped_by_hand() -> None:
    """Past any termination, with the noise of each dream from its own generator."""
    dynamics, settings = _lstm(), DreamSettings(temperature=1.3, termination_threshold=0.0)
    world, state = DreamWorld(dynamics), dynamics.initial(torch.randn(2, 4))
    actions = torch.randn(2, 7, 2)
    latents, rewards = dream_along(world, state, actions, np.random.default_rng(3), settings)
    generators = np.random.default_rng(3).spawn(2)
    noise = draw_noise(generators, 7, world.noise_sizes, torch.device("cpu"))
    for t in range(7):
        step = world.step(state, actions[:, t], Noise(*(numbers[t] for numbers in noise)), settings)
        state = step.state
        assert step.terminated.all()
        torch.testing.assert_close(latents[:, t], state[0])
        torch.testing.assert_close(rewards[:, t], step.rewards)


@pytest.mark.parametrize("sizes", [NoiseSizes(4, 3), NoiseSizes(0, 3), NoiseSizes(5, 0)])
def test_the_noise_of_a_dream_depends_on_its_own_generator(sizes: NoiseSizes) -> None:
    whole = draw_noise([stream(seed, "test") for seed in (7, 8, 9)], 6, sizes, torch.device("cpu"))
    assert [tuple(part.shape) for part in whole] == [(6, 3, sizes.uniform), (6, 3, sizes.normal), (6, 3)]
    assert all(part.dtype == torch.float32 for part in whole)
    for found, expected in zip(whole, draw_numbers(stream(8, "test"), 6, sizes), strict=True):
        np.testing.assert_array_equal(found[:, 1], expected)


@pytest.mark.parametrize("values", [{"temperature": 0.0}, {"temperature": -1.0}, {"horizon": 0}])
def test_settings_out_of_bounds_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(VmcError, match="must be"):
        DreamSettings(**values)  # type: ignore[arg-type]
