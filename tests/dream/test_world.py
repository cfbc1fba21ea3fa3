import pytest
import torch

from vmc.dream.world import DreamSettings, DreamWorld, dream_along
from vmc.errors import VmcError
from vmc.models.dynamics import MDNRNN, DynamicsSettings
from vmc.models.mixture import MIN_LOG_STD, sample_mixture


def _dynamics() -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(DynamicsSettings(4, 2, 16)).eval()


def test_a_step_is_ms_prediction_sampled() -> None:
    dynamics = _dynamics()
    world = DreamWorld(dynamics, DreamSettings(temperature=0.7))
    latents, actions = torch.randn(5, 4), torch.randn(5, 2)
    uniform, normal = torch.rand(5, 4), torch.randn(5, 4)
    step = world.step(latents, dynamics.initial_hidden(5), actions, uniform, normal)
    with torch.no_grad():
        prediction, hidden = dynamics(latents[:, None], actions[:, None], dynamics.initial_hidden(5))
        expected = sample_mixture(prediction.mixture, uniform[:, None], normal[:, None], 0.7)
    torch.testing.assert_close(step.latents, expected[:, 0])
    torch.testing.assert_close(step.hidden, hidden)
    torch.testing.assert_close(step.rewards, prediction.reward[:, 0])


def test_a_dream_does_not_depend_on_its_neighbours() -> None:
    dynamics = _dynamics()
    world = DreamWorld(dynamics)
    latents, actions, uniform, normal = torch.randn(6, 4), torch.randn(6, 2), torch.rand(6, 4), torch.randn(6, 4)
    whole = world.step(latents, dynamics.initial_hidden(6), actions, uniform, normal)
    alone = world.step(latents[2:3], dynamics.initial_hidden(1), actions[2:3], uniform[2:3], normal[2:3])
    torch.testing.assert_close(whole.latents[2:3], alone.latents)
    torch.testing.assert_close(whole.rewards[2:3], alone.rewards)


@pytest.mark.parametrize(("bias", "terminated"), [(5.0, True), (-5.0, False)])
def test_termination_follows_the_head(bias: float, terminated: bool) -> None:
    dynamics = _dynamics()
    with torch.no_grad():
        dynamics.termination.weight.zero_()
        dynamics.termination.bias.fill_(bias)
    step = DreamWorld(dynamics).step(
        torch.zeros(3, 4), dynamics.initial_hidden(3), torch.zeros(3, 2), torch.rand(3, 4), torch.randn(3, 4)
    )
    assert step.terminated.tolist() == [terminated] * 3


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
