"""Numbers of very different sizes as classes on a logarithmic scale (DreamerV3, Hafner et al., 2023, equation 9 ff)."""

from __future__ import annotations

import torch
from torch import Tensor


def symlog(x: Tensor) -> Tensor:
    """sign(x) log(1 + |x|): large numbers and small ones on one scale."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """The inverse of `symlog`."""
    return x.sign() * x.abs().expm1()


# The classes stand for these numbers, from -symexp(20) to symexp(20); the one in the middle is 0.
SYMEXP_BINS = symexp(torch.linspace(-20, 20, 255))


def two_hot(values: Tensor, bins: Tensor) -> Tensor:
    """Values (...) as weights (..., N) of the two bins beside each; the weighted mean of the bins is the value."""
    values = values.clamp(bins[0], bins[-1])
    upper = torch.searchsorted(bins, values.contiguous()).clamp(1, len(bins) - 1)
    low, high = bins[upper - 1], bins[upper]
    share = ((values - low) / (high - low)).unsqueeze(-1)
    weights = values.new_zeros(*values.shape, len(bins))
    weights.scatter_(-1, (upper - 1).unsqueeze(-1), 1 - share)
    return weights.scatter_(-1, upper.unsqueeze(-1), share)


def expected_value(logits: Tensor, bins: Tensor) -> Tensor:
    """The mean of symmetric bins (N,) under the softmax of logits (..., N).

    Bins of opposite sign are summed together: equal weights of the largest ones then cancel to 0, not to a rounding
    error of millions.
    """
    shares, first = logits.softmax(dim=-1), len(bins) // 2 + 1
    mean: Tensor = ((shares - shares.flip(-1))[..., first:] * bins[first:]).sum(dim=-1)
    return mean


def two_hot_loss(logits: Tensor, values: Tensor, bins: Tensor) -> Tensor:
    """The cross entropy of logits (..., N) and the two-hot values (...)."""
    loss: Tensor = -(two_hot(values, bins) * logits.log_softmax(dim=-1)).sum(dim=-1)
    return loss
