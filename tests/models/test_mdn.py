"""The MDN-RNN's heads and the recurrent networks that stand before them."""

import pytest
import torch

from vmc.models.dynamics import KINDS, MIXTURES, dynamics_class
from vmc.models.dynamics.contract import SequenceStatistics
from vmc.models.dynamics.lstm import LSTM
from vmc.models.dynamics.mdn import MDN, MDNSettings
from vmc.models.dynamics.noise import Noise
from vmc.models.loading import make_dynamics
from vmc.models.mixture import of_dimensions, sample_mixture

MDNS = [kind for kind in KINDS if issubclass(dynamics_class(kind), MDN)]


def _make(kind: str, latent_size: int = 4, action_size: int = 2, hidden_size: int = 16, mixture: str = "") -> MDN:
    torch.manual_seed(0)
    settings = {"latent_size": latent_size, "action_size": action_size, "hidden_size": hidden_size}
    dynamics = make_dynamics(kind, **settings, mixture=mixture or MIXTURES[0])
    assert isinstance(dynamics, MDN)
    return dynamics.eval().requires_grad_(False)


def test_parameter_count_is_the_papers_and_the_documented_extras() -> None:
    count = sum(p.numel() for p in LSTM(LSTM.Settings(32, 3)).parameters())
    second_bias, two_heads = 4 * 256, 2 * 257
    assert count == 422_368 + second_bias + two_heads == 423_906


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("lstm", 4 * 256 * (35 + 256) + 8 * 256),
        ("gru", 3 * 256 * (35 + 256) + 6 * 256),
        ("mlp", 256 * (35 + 256) + 2 * 256),
        ("neural-ode", 256 * (35 + 256) + 256),
    ],
)
def test_parameter_counts_of_the_networks(kind: str, expected: int) -> None:
    dynamics = _make(kind, 32, 3, 256)
    heads = (dynamics.mixture, dynamics.reward, dynamics.termination)
    count, of_heads = (sum(p.numel() for m in modules for p in m.parameters()) for modules in ([dynamics], heads))
    assert count - of_heads == expected


def test_the_shared_mixture_has_one_set_of_weights() -> None:
    assert LSTM(MDNSettings(32, 3, mixture="shared")).mixture.out_features == 5 + 2 * 32 * 5
    assert LSTM(MDNSettings(32, 3)).mixture.out_features == 3 * 32 * 5


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("kind", MDNS)
def test_unrolling_equals_stepping(kind: str) -> None:
    dynamics = _make(kind)
    for parameter in dynamics.parameters():
        parameter.mul_(3)  # as large as after training, so that gates leave their linear part
    inputs = torch.randn(3, 60, 6)
    memory = tuple(dynamics.initial(torch.zeros(3, 4))[1:])
    whole, last = dynamics.unroll(inputs, memory)
    for t in range(60):
        memory = dynamics.step(inputs[:, t], memory)
        torch.testing.assert_close(memory[0], whole[:, t])
    torch.testing.assert_close(memory, last)


@pytest.mark.parametrize("kind", MDNS)
def test_all_but_the_perceptron_remember(kind: str) -> None:
    dynamics = _make(kind)
    inputs = torch.randn(2, 5, 6)
    inputs[1, 1:] = inputs[0, 1:]
    _, (h, *_) = dynamics.unroll(inputs, tuple(dynamics.initial(torch.zeros(2, 4))[1:]))
    assert torch.equal(h[0], h[1]) == (kind == "mlp")


def test_the_integrator_stays_bounded() -> None:
    dynamics = _make("neural-ode")
    memory = tuple(dynamics.initial(torch.zeros(1, 4))[1:])
    for _ in range(2000):
        memory = dynamics.step(torch.full((1, 6), 100.0), memory)
    assert memory[0].abs().max() <= 1


@pytest.mark.parametrize("kind", MDNS)
def test_the_first_memory_is_zero(kind: str) -> None:
    latents = torch.randn(2, 4)
    z, *memory = _make(kind).initial(latents)
    assert torch.equal(z, latents)
    assert all(len(part) == 2 for part in memory)
    assert not any(part.any() for part in memory)


def test_the_reward_head_predicts_in_the_environments_units() -> None:
    dynamics = _make("lstm")
    h = torch.randn(5, 16)
    before = dynamics.heads(h).rewards
    dynamics.reward_scale.fill_(3.0)
    torch.testing.assert_close(dynamics.heads(h).rewards, 3 * before)


def test_the_weight_of_terminations_is_taken_out_of_their_probability() -> None:
    """M says 0.8 where terminations weighed 36 times their frequency: that is 4 / 36 to 1, or one in ten."""
    dynamics = _make("lstm")
    dynamics.termination.weight.zero_()
    dynamics.termination.bias.fill_(torch.tensor(4.0).log())
    dynamics.termination_weight.fill_(36)
    state, noise = dynamics.initial(torch.zeros(1, 4)), Noise(torch.rand(1, 4), torch.randn(1, 4), torch.rand(1))
    for model in (dynamics, dynamics.frozen()):
        assert model.imagine(state, torch.zeros(1, 2), noise, 1.0).terminations.item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.5, 1.0), (0.03, 1.0), (0.006, 5.0), (1e-6, 10.0)], ids=["many", "some", "few", "rare"]
)
def test_rare_terminations_weigh_more_up_to_a_bound(rate: float, expected: float) -> None:
    dynamics = _make("lstm")
    dynamics.prepare(SequenceStatistics(3.0, rate, torch.ones(4, dtype=torch.bool)))
    assert dynamics.termination_weight.item() == pytest.approx(expected)
    assert dynamics.reward_scale.item() == 3.0


@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("kind", MDNS)
def test_an_imagined_step_is_the_prediction_sampled(kind: str, mixture: str) -> None:
    """In the dimensions in use, as the mixture over those says; 0 in the others."""
    dynamics = _make(kind, mixture=mixture)
    dynamics.latent_mask.copy_(torch.tensor([False, True, False, True]))
    used = torch.tensor([1, 3])
    latents, actions = torch.randn(5, 4), torch.randn(5, 2)
    noise = Noise(torch.rand(5, 4), torch.randn(5, 4), torch.rand(5))
    state = dynamics.initial(latents)
    h, memory = dynamics.unroll(torch.cat([latents, actions], dim=1)[:, None], tuple(state[1:]))
    outputs = dynamics.heads(h[:, 0])
    numbers = (noise.uniform[:, used], noise.normal[:, used])
    expected = sample_mixture(of_dimensions(outputs.mixture, used), *numbers, 0.7)
    step = dynamics.frozen().imagine(state, actions, noise, 0.7)
    assert (step.state[0][:, [0, 2]] == 0).all()
    torch.testing.assert_close(step.state[0][:, used], expected)
    torch.testing.assert_close(tuple(step.state[1:]), memory)
    torch.testing.assert_close(step.rewards, outputs.rewards)
    torch.testing.assert_close(step.terminations, outputs.termination_logits.sigmoid())


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_mask_that_leaves_no_dimension_is_as_none(mixture: str) -> None:
    dynamics = _make("lstm", mixture=mixture)
    state, actions = dynamics.initial(torch.randn(3, 4)), torch.randn(3, 2)
    noise = Noise(torch.rand(3, 4), torch.randn(3, 4), torch.rand(3))
    expected = dynamics.imagine(state, actions, noise, 1.0)
    dynamics.latent_mask.fill_(False)
    assert dynamics.used_dimensions().tolist() == [0, 1, 2, 3]
    for model in (dynamics, dynamics.frozen()):
        torch.testing.assert_close(tuple(model.imagine(state, actions, noise, 1.0).state), tuple(expected.state))
