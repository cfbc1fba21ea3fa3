"""A linear layer whose weights stay, as fast as the processor multiplies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import linear


class PackedLinear:
    """`inputs @ weight.T + bias` in float32 for many rows.

    PyTorch gives a float32 product on a CPU to MKL, which leaves AVX-512 unused on AMD processors; oneDNN, which is
    in the same build, uses it (2.4 times the rate, measured in docs/experiments/matrix-products.md). The operator is
    the one that `torch.compile` itself emits; where it is missing, and on a GPU, this is the ordinary layer.

    Args:
        weight: (O, I).
        bias: (O,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight.detach(), bias.detach()
        self._packed: Tensor | None = None
        if weight.device.type == "cpu" and torch.backends.mkldnn.is_available() and _HAS_OPERATOR:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self._weight)

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, I) to (B, O)."""
        if self._packed is None:
            return linear(inputs, self._weight, self._bias)
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self._bias, "none", [], "")
        return outputs


Array = npt.NDArray[np.float32]


def packed_linear(weight: Array, bias: Array) -> Callable[[Array], Array]:
    """A `PackedLinear` from NumPy to NumPy, without a copy: (B, I) to (B, O)."""
    layer = PackedLinear(torch.from_numpy(weight), torch.from_numpy(bias))
    return lambda inputs: layer(torch.from_numpy(inputs)).numpy()


_HAS_OPERATOR = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
