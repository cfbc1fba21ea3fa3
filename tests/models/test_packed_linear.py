import numpy as np
import torch
from torch.nn.functional import linear

from vmc.models.packed_linear import PackedLinear, packed_linear


def test_packed_products_equal_the_layers() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 35, generator=generator)
    bias = torch.randn(96, generator=generator)
    packed = PackedLinear(weight, bias)
    for rows in (1, 7, 256):
        inputs = torch.randn(rows, 35, generator=generator)
        expected = linear(inputs.double(), weight.double(), bias.double())
        torch.testing.assert_close(packed(inputs).double(), expected, atol=1e-4, rtol=1e-5)
        in_numpy = packed_linear(weight.numpy(), bias.numpy())(inputs.numpy())
        np.testing.assert_allclose(in_numpy, expected, atol=1e-4, rtol=1e-5)
