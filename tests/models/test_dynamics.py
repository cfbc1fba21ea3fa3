import torch

from vmc.models.dynamics import MDNRNN, DynamicsSettings, Hidden


def test_parameter_count_is_the_papers_and_the_documented_extras() -> None:
    count = sum(p.numel() for p in MDNRNN(DynamicsSettings(32, 3)).parameters())
    second_bias, two_heads = 4 * 256, 2 * 257
    assert count == 422_368 + second_bias + two_heads == 423_906


def test_stepping_equals_the_sequence() -> None:
    torch.manual_seed(0)
    dynamics = MDNRNN(DynamicsSettings(4, 2, 16)).eval()
    latents, actions = torch.randn(3, 9, 4), torch.randn(3, 9, 2)
    with torch.no_grad():
        whole, last = dynamics(latents, actions, dynamics.initial_hidden(3))
        hidden = dynamics.initial_hidden(3)
        for t in range(9):
            hidden = dynamics.step(latents[:, t], actions[:, t], hidden)
            step = dynamics.heads(hidden.h)
            torch.testing.assert_close(step.reward, whole.reward[:, t])
            torch.testing.assert_close(step.mixture.means, whole.mixture.means[:, t])
    torch.testing.assert_close(hidden, last)


def test_carrying_the_state_equals_one_pass() -> None:
    torch.manual_seed(1)
    dynamics = MDNRNN(DynamicsSettings(4, 2, 16)).eval()
    latents, actions = torch.randn(2, 10, 4), torch.randn(2, 10, 2)
    with torch.no_grad():
        whole, _ = dynamics(latents, actions, dynamics.initial_hidden(2))
        _, hidden = dynamics(latents[:, :6], actions[:, :6], dynamics.initial_hidden(2))
        rest, _ = dynamics(latents[:, 6:], actions[:, 6:], hidden)
    torch.testing.assert_close(rest.termination_logit, whole.termination_logit[:, 6:])


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
