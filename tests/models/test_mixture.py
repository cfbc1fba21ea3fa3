import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from vmc.models.mixture import (
    MAX_LOG_STD,
    MIN_LOG_STD,
    Mixture,
    mixture_from_outputs,
    negative_log_likelihood,
    of_dimensions,
    sample_mixture,
)


def _mixture(*shape: int, seed: int = 0) -> Mixture:
    generator = torch.Generator().manual_seed(seed)
    logits, means, log_stds = (torch.randn(shape, generator=generator) for _ in range(3))
    return Mixture(logits.log_softmax(-1), 2 * means, 0.5 * log_stds - 0.5)


def _reference(mixture: Mixture) -> MixtureSameFamily:
    return MixtureSameFamily(
        Categorical(logits=mixture.log_weights), Normal(mixture.means, mixture.log_stds.exp()), validate_args=False
    )


def test_likelihood_is_that_of_torch_distributions() -> None:
    mixture = _mixture(4, 7, 32, 5)
    latents = torch.randn(4, 7, 32, generator=torch.Generator().manual_seed(1))
    expected = -_reference(mixture).log_prob(latents).mean(dim=-1)
    torch.testing.assert_close(negative_log_likelihood(mixture, latents), expected)


@pytest.mark.parametrize("sets", [1, 6])
def test_some_dimensions_of_a_mixture_are_its_marginal(sets: int) -> None:
    mixture = _mixture(3, 6, 5)
    mixture = mixture._replace(log_weights=mixture.log_weights[:, :sets])
    latents = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    dimensions = torch.tensor([4, 1])
    found = negative_log_likelihood(of_dimensions(mixture, dimensions), latents[:, dimensions])
    if sets == 1:
        normals = Independent(Normal(mixture.means[:, dimensions].mT, mixture.log_stds[:, dimensions].exp().mT), 1)
        weights = Categorical(logits=mixture.log_weights[:, 0])
        expected = -MixtureSameFamily(weights, normals, validate_args=False).log_prob(latents[:, dimensions]) / 2
    else:
        expected = -_reference(mixture).log_prob(latents)[:, dimensions].mean(dim=-1)
    torch.testing.assert_close(found, expected)


def _shared(*shape: int, latent_size: int, seed: int = 0) -> tuple[Mixture, MixtureSameFamily]:
    """One set of weights for all dimensions, and the same as a mixture of Gaussians of the whole latent."""
    mixture = _mixture(*shape, latent_size, 5, seed=seed)
    mixture = mixture._replace(log_weights=mixture.log_weights[..., :1, :])
    normals = Independent(Normal(mixture.means.mT, mixture.log_stds.exp().mT), 1)
    weights = Categorical(logits=mixture.log_weights.squeeze(-2))
    return mixture, MixtureSameFamily(weights, normals, validate_args=False)


def test_likelihood_with_shared_weights_is_that_of_torch_distributions() -> None:
    mixture, reference = _shared(4, 7, latent_size=32)
    latents = torch.randn(4, 7, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(negative_log_likelihood(mixture, latents), -reference.log_prob(latents) / 32)


def test_shared_weights_choose_one_component_for_all_dimensions() -> None:
    """100,000 draws; bounds as below. Covariances between dimensions are what the per-dimension mixture lacks."""
    mixture, reference = _shared(latent_size=3, seed=4)
    draws = _draw(mixture, 100_000, 1.0)
    assert ((draws.mean(0) - reference.mean).abs() < 6 * (reference.variance / 100_000).sqrt()).all()
    centred = mixture.means - reference.mean[:, None]
    weights = mixture.log_weights.exp()[0]
    expected = (weights * centred) @ centred.T + ((weights * (2 * mixture.log_stds).exp()).sum(-1)).diag()
    torch.testing.assert_close(draws.T.cov(), expected, rtol=0.05, atol=0.03)


def test_likelihood_far_away_stays_finite() -> None:
    mixture = mixture_from_outputs(torch.full((1, 3 * 2 * 5), -100.0), 2, 5)
    assert torch.isfinite(negative_log_likelihood(mixture, torch.full((1, 2), 1e4))).all()


def test_negative_where_the_density_exceeds_one() -> None:
    mixture = Mixture(torch.zeros(1, 1), torch.zeros(1, 1), torch.full((1, 1), -3.0))
    nll = negative_log_likelihood(mixture, torch.zeros(1))
    assert nll.item() == pytest.approx(0.5 * math.log(2 * math.pi) - 3.0)
    assert nll.item() < 0


def test_log_stds_are_clamped() -> None:
    outputs = torch.zeros(1, 3, 2, 5)
    outputs[:, 2, 0], outputs[:, 2, 1] = -50, 50
    mixture = mixture_from_outputs(outputs.flatten(1), 2, 5)
    assert (mixture.log_stds[0, 0] == MIN_LOG_STD).all()
    assert (mixture.log_stds[0, 1] == MAX_LOG_STD).all()


def _draw(mixture: Mixture, count: int, temperature: float) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    size = mixture.means.shape[0]
    wide = Mixture(*(field.expand(count, *field.shape) for field in mixture))
    uniform, normal = torch.rand(count, size, generator=generator), torch.randn(count, size, generator=generator)
    return sample_mixture(wide, uniform, normal, temperature)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 1.3])
def test_samples_have_the_moments_of_the_tempered_mixture(temperature: float) -> None:
    # Four dimensions, 100,000 draws: the bounds are 6 standard errors of the mean, and as many of the variance
    # by a bound on the fourth moment, so this fails less than once in 10^6.
    mixture = _mixture(4, 5, seed=4)
    tempered = Mixture(
        (mixture.log_weights / temperature).log_softmax(-1),
        mixture.means,
        mixture.log_stds + 0.5 * math.log(temperature),
    )
    reference = _reference(tempered)
    draws = _draw(mixture, 100_000, temperature)
    error = (draws.mean(0) - reference.mean).abs()
    assert (error < 6 * (reference.variance / 100_000).sqrt()).all()
    torch.testing.assert_close(draws.var(0), reference.variance, rtol=0.05, atol=0.01)


def test_the_last_component_is_reached_and_no_other_after_it() -> None:
    mixture = Mixture(torch.tensor([[0.2, 0.3, 0.5]]).log(), torch.tensor([[1.0, 2.0, 3.0]]), torch.full((1, 3), -9.0))
    for uniform, expected in ((0.0, 1.0), (0.19, 1.0), (0.21, 2.0), (0.49, 2.0), (0.51, 3.0), (0.9999999, 3.0)):
        sample = sample_mixture(mixture, torch.tensor([uniform]), torch.zeros(1), 1.0)
        assert sample.item() == expected
