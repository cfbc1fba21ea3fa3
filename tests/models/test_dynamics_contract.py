"""What every kind of M keeps to, one from outside the package among them."""

from typing import Any

import numpy as np
import pytest
import torch

from vmc.errors import VmcError
from vmc.models.dynamics import KINDS, MIXTURES, make_step
from vmc.models.dynamics.contract import SequenceBatch, SequenceStatistics, WorldModel
from vmc.models.dynamics.noise import Noise
from vmc.models.dynamics.state import State
from vmc.models.loading import arrays_of, dynamics_graphs, dynamics_info, make_dynamics

TINY = "tiny_dynamics:TinyDynamics"
RSSMS = ["rssm,stochastic=gaussian,recurrence=lstm", "rssm,recurrence=transformer,rewards=two-hot"]
ALL = [*KINDS, *RSSMS, TINY]
Z, A, H = 5, 2, 16


def _make(kind: str, mixture: str = MIXTURES[0], mask: list[int] | None = None) -> WorldModel:
    """Weights as large as after training, so that gates leave their linear part."""
    torch.manual_seed(0)
    dynamics = make_dynamics(kind, latent_size=Z, action_size=A, hidden_size=H, mixture=mixture)
    dynamics.eval().requires_grad_(False)
    for parameter in dynamics.parameters():
        if parameter.dim() > 1:
            parameter.mul_(3)
    if mask is not None:
        dynamics.latent_mask.copy_(torch.tensor(mask) > 0)
    return dynamics


def _batch(count: int, steps: int) -> SequenceBatch:
    terminations = torch.zeros(count, steps)
    terminations[:, -1] = 1
    shapes = ((count, steps + 1, Z), (count, steps, A), (count, steps))
    return SequenceBatch(*(torch.randn(shape) for shape in shapes), terminations, torch.ones(count, steps))


def _state(dynamics: WorldModel, count: int) -> State:
    """A state some steps after the first frame."""
    state = dynamics.initial(torch.randn(count, Z))
    for _ in range(3):
        state = dynamics.observe(state, torch.randn(count, A), torch.randn(count, Z))
    return state


def _noise(dynamics: WorldModel, count: int) -> Noise:
    uniform, normal = dynamics.noise_sizes
    return Noise(torch.rand(count, uniform), torch.randn(count, normal), torch.rand(count))


def _statistics(reward_scale: float, termination_rate: float, mask: torch.Tensor | None = None) -> SequenceStatistics:
    mask = torch.ones(Z, dtype=torch.bool) if mask is None else mask
    return SequenceStatistics(reward_scale, termination_rate, mask)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("kind", ALL)
def test_observing_step_by_step_equals_the_whole_sequence(kind: str) -> None:
    """Longer than a transformer's context."""
    dynamics, batch = _make(kind), _batch(3, 150)
    start = dynamics.initial(batch.latents[:, 0])
    whole, last = dynamics.predict(batch, start)
    state, columns = start, []
    for t in range(150):
        step, _ = dynamics.predict(batch.window(t, t + 1), state)
        columns.append(step)
        state = dynamics.observe(state, batch.actions[:, t], batch.latents[:, t + 1])
    torch.testing.assert_close(tuple(torch.cat(column, 1) for column in zip(*columns, strict=True)), tuple(whole))
    torch.testing.assert_close(tuple(state), tuple(last))


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("kind", ALL)
def test_windows_with_the_state_carried_equal_one_pass(kind: str) -> None:
    dynamics, batch = _make(kind), _batch(2, 10)
    start = dynamics.initial(batch.latents[:, 0])
    (whole, last), (losses, _) = dynamics.predict(batch, start), dynamics.loss(batch, start)
    first, between = dynamics.predict(batch.window(0, 6), start)
    rest, end = dynamics.predict(batch.window(6, 99), between)
    joined = tuple(torch.cat(parts, dim=1) for parts in zip(first, rest, strict=True))
    torch.testing.assert_close(joined, tuple(whole))
    torch.testing.assert_close(tuple(end), tuple(last))
    assert losses["loss"].item() == pytest.approx(sum(losses.values()).item() - losses["loss"].item())
    assert losses["nll_per_dimension"].item() == pytest.approx(whole.nll.mean().item(), rel=1e-4)


@pytest.mark.parametrize("kind", ALL)
def test_padding_does_not_change_the_loss_and_gradients_reach_every_weight(kind: str) -> None:
    dynamics, batch = _make(kind).requires_grad_(True), _batch(2, 12)
    mask = batch.mask.clone()
    mask[:, 8:] = 0
    padded = SequenceBatch(batch.latents, batch.actions, batch.rewards, batch.terminations, mask)
    state = dynamics.initial(batch.latents[:, 0])
    losses, _ = dynamics.loss(padded, state)
    expected, _ = dynamics.loss(batch.window(0, 8), state)
    torch.testing.assert_close(losses, expected)
    losses["loss"].backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in dynamics.parameters())


@pytest.mark.parametrize("mask", [None, [1, 0, 1, 0, 1], [0, 0, 0, 1, 0]], ids=["all", "some", "one"])
@pytest.mark.parametrize(("kind", "mixture"), [*((kind, m) for kind in KINDS for m in MIXTURES), (TINY, "")])
def test_the_frozen_model_imagines_what_the_reference_does(kind: str, mixture: str, mask: list[int] | None) -> None:
    dynamics = _make(kind, mixture, mask)
    dynamics.prepare(_statistics(2.5, 0.01, dynamics.latent_mask.clone()))  # units and weights other than 1
    frozen = dynamics.frozen()
    assert frozen.noise_sizes == dynamics.noise_sizes
    reference = state = _state(dynamics, 7)
    for _ in range(4):
        actions, noise = torch.randn(7, A), _noise(dynamics, 7)
        expected = dynamics.imagine(reference, actions, noise, 1.3)
        found = frozen.imagine(state, actions, noise, 1.3)
        torch.testing.assert_close(tuple(found.state), tuple(expected.state), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[1:], expected[1:], rtol=1e-4, atol=1e-5)
        reference, state = expected.state, found.state
        torch.testing.assert_close(frozen.features(state), dynamics.features(state), rtol=0, atol=0)
        assert (frozen.latents(state)[:, ~dynamics.latent_mask] == 0).all()
        assert (frozen.latents(state)[:, dynamics.latent_mask] != 0).all()


@pytest.mark.parametrize("kind", [*ALL, "transformer,context=1", "transformer,context=3"])
def test_many_dreams_go_on_from_one_state(kind: str) -> None:
    """A frozen model may keep memory of its own beside the states; each state stays as it was."""
    dynamics = _make(kind)
    frozen, actions = dynamics.frozen(), torch.randn(9, 4, A)
    state, noise = _state(dynamics, 4), [_noise(dynamics, 4) for _ in range(9)]
    before = state.map(torch.clone)
    branches = {}
    for branch in (0, 1):  # both from the first state, and the second one while the first goes on
        branches[branch] = frozen.imagine(state, actions[branch], noise[branch], 1.0).state
    for t in range(2, 9):
        for branch in (0, 1):
            branches[branch] = frozen.imagine(branches[branch], actions[t] + branch, noise[t], 1.0).state
    for branch in (0, 1):
        expected = dynamics.imagine(before, actions[branch], noise[branch], 1.0).state
        for t in range(2, 9):
            expected = dynamics.imagine(expected, actions[t] + branch, noise[t], 1.0).state
        torch.testing.assert_close(tuple(branches[branch]), tuple(expected), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(tuple(state), tuple(before), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ALL)
def test_imagining_moves_the_memory_as_observing_does(kind: str) -> None:
    """Whatever latents it samples: the memory at the next frame is from before M sees them."""
    dynamics = _make(kind)
    state, actions = _state(dynamics, 4), torch.randn(4, A)
    imagined = dynamics.imagine(state, actions, _noise(dynamics, 4), 1.0).state
    observed = dynamics.observe(state, actions, torch.randn(4, Z))
    (_, *found), (_, *expected) = (dynamics.features(each).values() for each in (imagined, observed))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ALL)
def test_masked_latents_do_not_count_in_the_likelihood(kind: str) -> None:
    dynamics, batch = _make(kind, mask=[1, 0, 1, 1, 0]), _batch(3, 1)
    state = dynamics.initial(batch.latents[:, 0])
    before, _ = dynamics.predict(batch, state)
    batch.latents[:, 1, [1, 4]] = 100.0
    assert torch.equal(dynamics.predict(batch, state)[0].nll, before.nll)
    batch.latents[:, 1, 0] = 100.0
    assert not torch.equal(dynamics.predict(batch, state)[0].nll, before.nll)


@pytest.mark.parametrize("kind", ALL)
def test_the_agents_step_equals_torch(kind: str) -> None:
    """By hand or exported; the graphs are of an untrained model, the weights are not."""
    untrained = make_dynamics(kind, latent_size=Z, action_size=A, hidden_size=H, mixture=MIXTURES[0])
    dynamics = _make(kind)
    step = make_step(kind, arrays_of(dynamics), dynamics_graphs(kind, untrained))
    rng = np.random.default_rng(0)
    latents, actions = rng.standard_normal((51, Z), np.float32), rng.standard_normal((50, A), np.float32)
    for _ in range(2):  # the second episode does not depend on the first
        ours = step.initial(latents[0])
        state = dynamics.initial(torch.from_numpy(latents[:1]))
        for t in range(51):
            expected, found = dynamics.features(state), step.features(ours)
            assert list(found) == list(expected) == list(dynamics.feature_sizes)
            for name, width in dynamics.feature_sizes.items():
                assert (found[name].shape, found[name].dtype) == ((width,), np.float32)
                np.testing.assert_allclose(found[name], expected[name][0], atol=1e-5, rtol=1e-5)
            if t < 50:
                ours = step.observe(ours, actions[t], latents[t + 1])
                moved = (torch.from_numpy(numbers) for numbers in (actions[t : t + 1], latents[t + 1 : t + 2]))
                state = dynamics.observe(state, *moved)


@pytest.mark.parametrize("kind", ALL)
def test_features_begin_with_z_and_have_the_named_widths(kind: str) -> None:
    dynamics = _make(kind)
    state = _state(dynamics, 3)
    features = dynamics.features(state)
    assert next(iter(features)) == "z"
    assert {name: part.shape[1] for name, part in features.items()} == dynamics.feature_sizes
    assert torch.equal(features["z"], dynamics.latents(state))
    assert dynamics_info(kind, dynamics)["features"] == dynamics.feature_sizes
    assert all(len(part) == 3 for part in state)


@pytest.mark.parametrize("kind", ALL)
def test_other_latents_of_the_same_frame_leave_the_memory(kind: str) -> None:
    dynamics = _make(kind)
    state, latents = _state(dynamics, 3), torch.randn(3, Z)
    changed = dynamics.with_latents(state, latents)
    assert isinstance(changed, State)
    assert torch.equal(dynamics.latents(changed), latents)
    features = dynamics.features(changed)
    for name, before in dynamics.features(state).items():
        assert torch.equal(features[name], latents if name == "z" else before)
    # The next memory has seen the new latents.
    actions = torch.randn(3, A)
    after, other = (dynamics.observe(each, actions, latents) for each in (changed, state))
    assert not torch.equal(dynamics.features(after)["h"], dynamics.features(other)["h"])
    again = dynamics.with_latents(changed, dynamics.latents(state))
    torch.testing.assert_close(tuple(again), tuple(state), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ALL)
def test_adapting_to_other_data_keeps_the_predictions_and_takes_their_mask(kind: str) -> None:
    dynamics, batch = _make(kind), _batch(3, 8)
    dynamics.prepare(_statistics(2.0, 0.02))
    state = dynamics.initial(batch.latents[:, 0])
    before, _ = dynamics.predict(batch, state)
    dynamics.adapt(_statistics(7.0, 0.004), relabelled=False)
    after, _ = dynamics.predict(batch, state)
    torch.testing.assert_close(tuple(after), tuple(before), rtol=1e-4, atol=1e-5)
    mask = torch.tensor([True, False, True, True, False])
    dynamics.adapt(_statistics(7.0, 0.004, mask), relabelled=False)
    assert torch.equal(dynamics.latent_mask, mask)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_prediction_of_terminations_is_their_frequency(kind: str) -> None:
    """Also when other steps are labelled as terminated than before."""
    dynamics, batch = _make(kind), _batch(3, 8)
    state = dynamics.initial(batch.latents[:, 0])
    for begin, rate in ((dynamics.prepare, 0.02), (lambda s: dynamics.adapt(s, relabelled=True), 0.1)):
        begin(_statistics(1.0, rate))
        terminations = dynamics.predict(batch, state)[0].terminations
        torch.testing.assert_close(terminations, torch.full((3, 8), rate))


@pytest.mark.parametrize("kind", ALL)
def test_a_row_does_not_depend_on_its_neighbours(kind: str) -> None:
    dynamics = _make(kind)
    frozen, state = dynamics.frozen(), _state(dynamics, 6)
    actions, noise = torch.randn(6, A), _noise(dynamics, 6)
    whole = frozen.imagine(state, actions, noise, 1.0)
    third = slice(2, 3)
    alone = frozen.imagine(state.rows(third), actions[third], Noise(*(part[third] for part in noise)), 1.0)
    torch.testing.assert_close(tuple(whole.state.rows(third)), tuple(alone.state), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tuple(part[third] for part in whole[1:]), tuple(alone[1:]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("diffusion", r"no M of kind 'diffusion'(.|\n)*Or give module:Class"),
        ("mpl", r"Did you mean 'mlp'"),
        ("nowhere:Model", r"'nowhere:Model' cannot be imported(.|\n)*PYTHONPATH"),
        ("tiny_dynamics:Large", r"'tiny_dynamics:Large' cannot be imported"),
    ],
)
def test_a_kind_that_does_not_exist_is_an_error_that_says_what_to_do(name: str, message: str) -> None:
    with pytest.raises(VmcError, match=message):
        make_dynamics(name, latent_size=Z, action_size=A)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transformer,contxt=3", r"transformer': contxt is no option\.\n  Did you mean 'context'"),
        ("transformer,context=0", r"context is 0; it must be at least 1"),
        ("rssm,num_classes=many", r"num-classes is 'many'; it must be of type int"),
        ("rssm,stochastic=uniform", r"stochastic cannot be 'uniform'(.|\n)*categorical, gaussian"),
        ("rssm,gaussian", r"'gaussian' is not NAME=VALUE"),
    ],
)
def test_settings_that_a_kind_does_not_take_are_told(name: str, message: str) -> None:
    with pytest.raises(VmcError, match=message):
        make_dynamics(name, latent_size=Z, action_size=A, hidden_size=H)


def test_a_kind_takes_settings_of_its_own() -> None:
    dynamics = make_dynamics("rssm,stochastic=gaussian,hidden_size=24", latent_size=Z, action_size=A, hidden_size=H)
    assert (dynamics.settings.stochastic, dynamics.settings.hidden_size) == ("gaussian", 24)
    assert dynamics_info("rssm,stochastic=gaussian,hidden_size=24", dynamics)["kind"] == "rssm"


def test_a_mixture_that_does_not_exist_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(VmcError, match=r"no mixture 'none'\.\n  Choose one of per-dimension, shared"):
        make_dynamics("lstm", latent_size=Z, action_size=A, mixture="none")


def test_a_kind_takes_the_settings_that_it_has() -> None:
    values: dict[str, Any] = {"latent_size": Z, "action_size": A, "hidden_size": H, "mixture": "shared"}
    settings = make_dynamics("gru", **values).settings
    assert (settings.hidden_size, settings.mixture) == (H, "shared")
    assert dynamics_info(TINY, make_dynamics(TINY, **values)) == {
        "kind": TINY,
        "features": {"z": Z, "h": 7},
        "model": {"latent_size": Z, "action_size": A},
    }
