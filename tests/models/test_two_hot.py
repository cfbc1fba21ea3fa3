"""Two-hot classes: their weights, their mean and their loss, against computations by hand."""

import numpy as np
import pytest
import torch

from vmc.models.two_hot import SYMEXP_BINS, expected_value, symexp, symlog, two_hot, two_hot_loss


def test_two_hot_weights_have_the_value_as_their_mean() -> None:
    bins = torch.linspace(-3, 3, 7)
    values = torch.tensor([-9.0, -3.0, -2.25, 0.0, 0.5, 2.999, 3.0, 9.0])
    weights = two_hot(values, bins)
    torch.testing.assert_close(weights @ bins, values.clamp(-3, 3))
    assert (weights >= 0).all()
    assert ((weights > 0).sum(dim=1) <= 2).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(8))


def test_symexp_is_the_inverse_of_symlog() -> None:
    x = torch.tensor([-1e4, -1.0, 0.0, 1e-3, 5.0, 1e6], dtype=torch.float64)
    torch.testing.assert_close(symexp(symlog(x)), x)
    assert symlog(torch.tensor(-np.e + 1)).item() == pytest.approx(-1)


def test_the_mean_of_two_hot_weights_is_the_value_at_every_size() -> None:
    values = torch.tensor([-3e7, -123.4, -0.1, 0.0, 3.3, 900.0, 1e8])
    weights = two_hot(values, SYMEXP_BINS)
    torch.testing.assert_close(expected_value(weights.log(), SYMEXP_BINS), values, rtol=1e-4, atol=1e-5)


def test_equal_classes_have_the_mean_0() -> None:
    assert expected_value(torch.zeros(2, 255), SYMEXP_BINS).tolist() == [0, 0]


def test_the_loss_is_least_where_the_shares_are_those_of_the_values() -> None:
    """Rewards that are 3.3 in one step of four and -0.1 else: the expected value is learnt without bias."""
    values = torch.tensor([3.3, -0.1, -0.1, -0.1]).repeat(8)
    logits = torch.zeros(255, requires_grad=True)
    optimizer = torch.optim.Adam([logits], 0.1)
    for _ in range(300):
        optimizer.zero_grad()
        two_hot_loss(logits.expand(32, -1), values, SYMEXP_BINS).mean().backward()
        optimizer.step()
    assert expected_value(logits, SYMEXP_BINS).item() == pytest.approx(0.75, abs=0.02)
