"""The RSSM's stochastic part and its loss, against computations by hand."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from vmc.errors import VmcError
from vmc.models.dynamics.contract import SequenceBatch, SequenceStatistics
from vmc.models.dynamics.noise import Noise
from vmc.models.dynamics.rssm import RSSM, RSSMSettings

Z, A, H, V, C = 3, 2, 8, 4, 5


def _model(stochastic: str) -> RSSM:
    torch.manual_seed(0)
    return RSSM(RSSMSettings(Z, A, H, stochastic, V, C))


def _batch(noise: torch.Tensor | None = None, steps: int = 6) -> SequenceBatch:
    torch.manual_seed(1)
    shapes = ((2, steps + 1, Z), (2, steps, A), (2, steps))
    return SequenceBatch(*map(torch.randn, shapes), torch.zeros(2, steps), torch.ones(2, steps), noise)


def _mixed(outputs: torch.Tensor) -> torch.Tensor:
    return 0.99 * outputs.view(-1, V, C).softmax(-1) + 0.01 / C


def test_the_divergence_of_categorical_variables_is_torchs() -> None:
    s, (q, p) = _model("categorical").stochastic, 3 * torch.randn(2, 7, V * C)
    expected = kl_divergence(*(Categorical(probs=_mixed(outputs)) for outputs in (q, p))).sum(dim=1)
    torch.testing.assert_close(s.divergence(q, p), expected)


def test_the_divergence_of_gaussians_is_torchs() -> None:
    s, (q, p) = _model("gaussian").stochastic, 3 * torch.randn(2, 7, 2 * V)
    normals = [Normal(each[:, :V], torch.nn.functional.softplus(each[:, V:]) + 0.1) for each in (q, p)]
    torch.testing.assert_close(s.divergence(q, p), kl_divergence(*normals).sum(dim=1))


def test_a_categorical_sample_is_one_hot_and_as_frequent_as_its_probability() -> None:
    """100,000 draws: a share is off by 0.01 less than once in a billion."""
    s, outputs = _model("categorical").stochastic, torch.randn(1, V * C)
    drawn = s.sample(outputs.expand(100_000, -1), torch.rand(100_000, V)).unflatten(-1, (V, C))
    assert set(drawn.round(decimals=5).unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(dim=0), _mixed(outputs)[0], atol=0.01, rtol=0)


def test_the_gradient_of_a_categorical_sample_is_that_of_its_probabilities() -> None:
    s, weights = _model("categorical").stochastic, torch.randn(V * C)
    outputs = torch.randn(3, V * C, requires_grad=True)
    (found,) = torch.autograd.grad((s.sample(outputs, torch.rand(3, V)) * weights).sum(), outputs)
    (expected,) = torch.autograd.grad((_mixed(outputs).flatten(1) * weights).sum(), outputs)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("stochastic", ["categorical", "gaussian"])
def test_the_loss_is_that_of_dreamer_computed_step_by_step(stochastic: str) -> None:
    model, generator = _model(stochastic), torch.Generator().manual_seed(0)
    batch = _batch(model.draw_training_noise(2, 6, generator))
    model.prepare(SequenceStatistics(2.0, 0.01, torch.tensor([True, True, False])))
    losses, _ = model.loss(batch, model.initial(batch.latents[:, 0]))
    _, s, h = model.initial(batch.latents[:, 0])
    bounds, totals = [], []
    for t in range(6):
        h = model.recurrence.gru(model.embedding(torch.cat([s, batch.actions[:, t]], 1))[:, None], h[None])[1][0]
        target = batch.latents[:, t + 1]
        q, p = model.posterior(torch.cat([h, target * torch.tensor([1.0, 1.0, 0.0])], 1)), model.prior(h)
        s = model.stochastic.sample(q, batch.noise[:, t])
        mean, log_std = model.latent(model.trunk(torch.cat([h, s], 1))).chunk(2, dim=1)
        error = -Normal(mean, log_std.exp()).log_prob(target)[:, :2].sum(dim=1)
        kl = model.stochastic.divergence(q, p)
        bounds.append(error + kl)
        totals.append(error + kl.clamp(min=1) + 0.1 * kl.clamp(min=1))
    bound, total = (torch.stack(parts).mean() / 2 for parts in (bounds, totals))
    assert losses["nll_per_dimension"].item() == pytest.approx(bound.item(), rel=1e-5)
    assert (losses["nll_per_dimension"] + losses["kl_balance"]).item() == pytest.approx(total.item(), rel=1e-5)


def test_the_prior_learns_ten_times_as_fast_as_the_posterior() -> None:
    """Both gradients of the divergence, where it is above the free nat; the latent's error is left out."""
    model = _model("categorical")
    q, p = (4 * torch.randn(1, V * C)).requires_grad_(), (4 * torch.randn(1, V * C)).requires_grad_()
    kl = model.stochastic.divergence(q, p)
    assert kl.item() > 1
    plain = torch.autograd.grad(kl.sum(), (q, p))
    dynamics = model.stochastic.divergence(q.detach(), p) + 0.1 * model.stochastic.divergence(q, p.detach())
    found = torch.autograd.grad(dynamics.sum(), (q, p))
    torch.testing.assert_close(found[0], 0.1 * plain[0])
    torch.testing.assert_close(found[1], plain[1])


@pytest.mark.parametrize("stochastic", ["categorical", "gaussian"])
def test_it_learns_which_of_two_futures_can_come(stochastic: str) -> None:
    """z' is +1 or -1 by chance, beside a sign that the action decides: dreams have both, and the right sign."""
    torch.manual_seed(0)
    model = RSSM(RSSMSettings(2, 1, 32, stochastic, 4, 4))
    model.prepare(SequenceStatistics(1.0, 0.01, torch.ones(2, dtype=torch.bool)))
    optimizer, generator = torch.optim.Adam(model.parameters(), 3e-3), torch.Generator().manual_seed(0)

    def batch(count: int, steps: int) -> SequenceBatch:
        chance, chosen = (torch.rand(count, steps + 1, generator=generator).sub(0.5).sign() for _ in range(2))
        latents = torch.stack([chance, torch.cat([chance[:, :1], chosen[:, :-1]], 1)], dim=2)
        latents = latents + 0.05 * torch.randn(latents.shape, generator=generator)
        noise = model.draw_training_noise(count, steps, generator)
        reward = latents[:, 1:, 1]
        return SequenceBatch(
            latents, chosen[:, :-1, None], reward, torch.zeros(count, steps), torch.ones(count, steps), noise
        )

    for _ in range(300):
        made = batch(32, 8)
        losses, _ = model.loss(made, model.initial(made.latents[:, 0]))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    with torch.no_grad():
        made = batch(500, 2)
        state = model.observe(model.initial(made.latents[:, 0]), made.actions[:, 0], made.latents[:, 1])
        uniform, normal = model.noise_sizes
        noise = Noise(torch.rand(500, uniform), torch.randn(500, normal), torch.rand(500))
        imagined = model.imagine(state, made.actions[:, 1], noise, 1.0)
    z = imagined.state[0].numpy()
    assert np.abs(np.abs(z) - 1).mean() < (0.25 if stochastic == "categorical" else 0.5)  # not in between
    assert 0.35 < (z[:, 0] > 0).mean() < 0.65
    assert (np.sign(z[:, 1]) == made.actions[:, 1, 0].numpy()).mean() > 0.95
    assert np.corrcoef(imagined.rewards, made.actions[:, 1, 0])[0, 1] > 0.9


def test_a_bound_of_zero_knowledge_is_the_entropy() -> None:
    """With a posterior that equals the prior, the bound is the latent's error alone."""
    model, batch = _model("categorical"), _batch()
    with torch.no_grad():
        for head in (model.prior[-1], model.posterior[-1]):
            head.weight.zero_()
            head.bias.zero_()
        model.latent.weight.zero_()
        model.latent.bias.zero_()
    prediction, _ = model.predict(batch, model.initial(batch.latents[:, 0]))
    expected = 0.5 * (batch.latents[:, 1:].square().mean(dim=2) + log(2 * np.pi))
    torch.testing.assert_close(prediction.nll, expected)


def test_the_lstm_is_torchs() -> None:
    model = RSSM(RSSMSettings(Z, A, H, recurrence="lstm"))
    inputs, memory = torch.randn(3, H), (torch.randn(3, H), torch.randn(3, H))
    found = model.recurrence.step(inputs, memory)
    _, expected = model.recurrence.lstm(inputs[:, None], tuple(part[None] for part in memory))
    for ours, torchs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torchs[0])


@pytest.mark.parametrize(
    ("setting", "known"),
    [
        ("stochastic", "categorical, gaussian"),
        ("recurrence", "gru, lstm, transformer"),
        ("rewards", "squared, two-hot"),
    ],
)
def test_an_unknown_choice_is_an_error(setting: str, known: str) -> None:
    with pytest.raises(VmcError, match=rf"{setting} cannot be 'other'.\n  Choose one of {known}"):
        RSSMSettings(Z, A, **{setting: "other"})
