import numpy as np
import pytest
import torch

from vmc.errors import VmcError
from vmc.models.agent import Memory
from vmc.models.backbones import BACKBONES
from vmc.models.backbones.contract import Hidden
from vmc.models.dynamics import MDNRNN
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.models.mixture import MIN_LOG_STD


def test_parameter_count_is_the_papers_and_the_documented_extras() -> None:
    count = sum(p.numel() for p in MDNRNN(DynamicsSettings(32, 3)).parameters())
    second_bias, two_heads = 4 * 256, 2 * 257
    assert count == 422_368 + second_bias + two_heads == 423_906


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("lstm", 4 * 256 * (35 + 256) + 8 * 256),
        ("gru", 3 * 256 * (35 + 256) + 6 * 256),
        ("mlp", 256 * (35 + 256) + 2 * 256),
        ("neural-ode", 256 * (35 + 256) + 256),
    ],
)
def test_parameter_counts_of_the_backbones(backbone: str, expected: int) -> None:
    dynamics = MDNRNN(DynamicsSettings(32, 3, backbone=backbone))
    assert sum(p.numel() for p in dynamics.get_submodule(backbone).parameters()) == expected


def test_the_shared_mixture_has_one_set_of_weights() -> None:
    assert MDNRNN(DynamicsSettings(32, 3, mixture="shared")).mixture.out_features == 5 + 2 * 32 * 5


def _make(backbone: str) -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(DynamicsSettings(4, 2, 16, backbone=backbone)).eval().requires_grad_(False)


@pytest.mark.parametrize("mixture", ["per-dimension", "shared"])
def test_silenced_dimensions_are_predicted_to_be_zero(mixture: str) -> None:
    torch.manual_seed(0)
    dynamics = MDNRNN(DynamicsSettings(4, 2, 16, mixture=mixture)).requires_grad_(False)
    h = torch.randn(7, 16)
    before = dynamics.heads(h).mixture
    dynamics.silence(torch.tensor([1, 3]))
    after = dynamics.heads(h).mixture
    assert (after.means[:, [1, 3]] == 0).all()
    assert (after.log_stds[:, [1, 3]] == MIN_LOG_STD).all()
    assert torch.equal(after.means[:, [0, 2]], before.means[:, [0, 2]])
    assert torch.equal(after.log_stds[:, [0, 2]], before.log_stds[:, [0, 2]])
    assert torch.equal(after.log_weights, before.log_weights)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_stepping_equals_the_sequence_with_torch_and_without(backbone: str) -> None:
    dynamics = _make(backbone)
    for parameter in dynamics.parameters():
        parameter.mul_(3)  # as large as after training, so that gates leave their linear part
    latents, actions = torch.randn(3, 60, 4), torch.randn(3, 60, 2)
    whole, last = dynamics(latents, actions, dynamics.initial_hidden(3))
    hidden = dynamics.initial_hidden(3)
    memory = Memory(dynamics.settings, {name: array.numpy() for name, array in dynamics.state_dict().items()})
    memory.reset()
    for t in range(60):
        hidden = dynamics.step(latents[:, t], actions[:, t], hidden)
        memory.step(latents[0, t].numpy(), actions[0, t].numpy())
        np.testing.assert_allclose(memory.h, hidden.h[0], atol=1e-5)
        np.testing.assert_allclose(memory.c, hidden.c[0], atol=1e-5)
        step = dynamics.heads(hidden.h)
        torch.testing.assert_close(step.reward, whole.reward[:, t])
        torch.testing.assert_close(step.mixture.means, whole.mixture.means[:, t])
    torch.testing.assert_close(hidden, last)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_carrying_the_state_equals_one_pass(backbone: str) -> None:
    dynamics = _make(backbone)
    latents, actions = torch.randn(2, 10, 4), torch.randn(2, 10, 2)
    whole, _ = dynamics(latents, actions, dynamics.initial_hidden(2))
    _, hidden = dynamics(latents[:, :6], actions[:, :6], dynamics.initial_hidden(2))
    rest, _ = dynamics(latents[:, 6:], actions[:, 6:], hidden)
    torch.testing.assert_close(rest.termination_logit, whole.termination_logit[:, 6:])


@pytest.mark.parametrize("backbone", BACKBONES)
def test_all_but_the_perceptron_remember(backbone: str) -> None:
    dynamics = _make(backbone)
    latents, actions = torch.randn(2, 5, 4), torch.zeros(2, 5, 2)
    latents[1, 1:] = latents[0, 1:]
    _, hidden = dynamics(latents, actions, dynamics.initial_hidden(2))
    assert torch.equal(hidden.h[0], hidden.h[1]) == (backbone == "mlp")


def test_the_integrator_stays_bounded() -> None:
    dynamics = _make("neural-ode")
    hidden = dynamics.initial_hidden(1)
    for _ in range(2000):
        hidden = dynamics.step(torch.full((1, 4), 100.0), torch.full((1, 2), 100.0), hidden)
    assert hidden.h.abs().max() <= 1


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"backbone": "transformer"}, "no backbone 'transformer'.\\n  Choose one of lstm, gru, mlp, neural-ode"),
        ({"mixture": "none"}, "no mixture 'none'.\\n  Choose one of per-dimension, shared"),
    ],
)
def test_what_there_is_not_is_told_with_what_there_is(values: dict[str, str], told: str) -> None:
    with pytest.raises(VmcError, match=told):
        DynamicsSettings(4, 2, **values)


def test_the_reward_head_speaks_in_the_environments_units() -> None:
    dynamics = MDNRNN(DynamicsSettings(4, 2, 16))
    h = torch.randn(5, 16)
    before = dynamics.heads(h).reward
    dynamics.reward_scale.fill_(3.0)
    torch.testing.assert_close(dynamics.heads(h).reward, 3 * before)


def test_initial_state_is_zero() -> None:
    hidden = MDNRNN(DynamicsSettings(4, 2, 16)).initial_hidden(2)
    assert isinstance(hidden, Hidden)
    assert not hidden.h.any()
    assert not hidden.c.any()
