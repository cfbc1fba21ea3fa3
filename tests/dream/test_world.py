import math

import pytest
import torch

from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld, Noise, dream_along
from vmc.errors import VmcError
from vmc.models.backbones import BACKBONES
from vmc.models.backbones.contract import Hidden
from vmc.models.dynamics import MDNRNN
from vmc.models.dynamics_settings import MIXTURES, DynamicsSettings
from vmc.models.mixture import MIN_LOG_STD, of_dimensions, sample_mixture


def _dynamics(backbone: str = "lstm", mixture: str = "per-dimension") -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(DynamicsSettings(4, 2, 16, backbone=backbone, mixture=mixture)).eval()


def _noise(batch_size: int) -> Noise:
    return Noise(torch.rand(batch_size, 4), torch.randn(batch_size, 4), torch.rand(batch_size))


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_step_is_ms_prediction_sampled(backbone: str, mixture: str) -> None:
    dynamics = _dynamics(backbone, mixture)
    world = DreamWorld(dynamics, DreamSettings(temperature=0.7))
    latents, actions = torch.randn(5, 4), torch.randn(5, 2)
    noise = _noise(5)
    before = Hidden(*(torch.randn_like(state) for state in dynamics.initial_hidden(5)))
    step = world.step(latents, before, actions, noise)
    with torch.no_grad():
        prediction, hidden = dynamics(latents[:, None], actions[:, None], before)
        expected = sample_mixture(prediction.mixture, noise.uniform[:, None], noise.normal[:, None], 0.7)
    torch.testing.assert_close(step.latents, expected[:, 0])
    torch.testing.assert_close(step.hidden, hidden)
    torch.testing.assert_close(step.rewards, prediction.reward[:, 0])


@pytest.mark.parametrize("mixture", MIXTURES)
def test_silenced_dimensions_are_not_dreamed(mixture: str) -> None:
    """They cost nothing and stay 0; the others are dreamed as the whole mixture says."""
    dynamics = _dynamics(mixture=mixture)
    dynamics.silence(torch.tensor([0, 2]))
    active = torch.tensor([1, 3])
    latents, actions, noise = torch.randn(5, 4), torch.randn(5, 2), _noise(5)
    step = DreamWorld(dynamics).step(latents, dynamics.initial_hidden(5), actions, noise)
    assert (step.latents[:, [0, 2]] == 0).all()
    with torch.no_grad():
        prediction, hidden = dynamics(latents[:, None], actions[:, None], dynamics.initial_hidden(5))
        chosen = of_dimensions(prediction.mixture, active)
        uniform, normal = (numbers[:, None, active] for numbers in noise[:2])
        torch.testing.assert_close(step.latents[:, active], sample_mixture(chosen, uniform, normal, 1.0)[:, 0])
    torch.testing.assert_close(step.hidden, hidden)
    torch.testing.assert_close(step.rewards, prediction.reward[:, 0])


def test_a_dream_does_not_depend_on_its_neighbours() -> None:
    dynamics = _dynamics()
    world = DreamWorld(dynamics)
    latents, actions, noise = torch.randn(6, 4), torch.randn(6, 2), _noise(6)
    whole = world.step(latents, dynamics.initial_hidden(6), actions, noise)
    third = Noise(*(numbers[2:3] for numbers in noise))
    alone = world.step(latents[2:3], dynamics.initial_hidden(1), actions[2:3], third)
    torch.testing.assert_close(whole.latents[2:3], alone.latents)
    torch.testing.assert_close(whole.rewards[2:3], alone.rewards)


@pytest.mark.parametrize(("bias", "terminated"), [(5.0, True), (-5.0, False)])
def test_termination_follows_the_head(bias: float, terminated: bool) -> None:
    dynamics = _dynamics()
    with torch.no_grad():
        dynamics.termination.weight.zero_()
        dynamics.termination.bias.fill_(bias)
    step = DreamWorld(dynamics).step(torch.zeros(3, 4), dynamics.initial_hidden(3), torch.zeros(3, 2), _noise(3))
    assert step.terminated.tolist() == [terminated] * 3


def test_sampled_terminations_have_the_frequency_that_m_was_trained_on() -> None:
    """M says 0.8 where terminations weighed 36 times their frequency: that is 4 / 36 = 0.1 to 1, or one in ten."""
    dynamics = _dynamics()
    with torch.no_grad():
        dynamics.termination.weight.zero_()
        dynamics.termination.bias.fill_(math.log(4))
        dynamics.termination_weight.fill_(36)
    world = DreamWorld(dynamics, DreamSettings(sample_termination=True))
    step = world.step(torch.zeros(10_000, 4), dynamics.initial_hidden(10_000), torch.zeros(10_000, 2), _noise(10_000))
    # Six standard deviations of 10,000 draws: once in 500 million.
    assert step.terminated.float().mean().item() == pytest.approx(0.1, abs=6 * 0.003)


def test_dreaming_along_follows_a_world_without_noise() -> None:
    """An M whose mixture is a spike at 1 dreams exactly that, whatever the random numbers."""
    dynamics = _dynamics()
    with torch.no_grad():
        dynamics.mixture.weight.zero_()
        bias = dynamics.mixture.bias.view(3, 4, 5)
        bias[0], bias[1], bias[2] = 0.0, 1.0, -50.0
    latents, rewards = dream_along(
        DreamWorld(dynamics), torch.zeros(2, 4), dynamics.initial_hidden(2), torch.zeros(2, 7, 2), torch.Generator()
    )
    assert latents.shape == (2, 7, 4)
    assert rewards.shape == (2, 7)
    torch.testing.assert_close(latents, torch.ones(2, 7, 4), atol=6 * 2.72**MIN_LOG_STD, rtol=0)


@pytest.mark.parametrize("values", [{"temperature": 0.0}, {"temperature": -1.0}, {"horizon": 0}])
def test_settings_out_of_bounds_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(VmcError, match="must be"):
        DreamSettings(**values)  # type: ignore[arg-type]
