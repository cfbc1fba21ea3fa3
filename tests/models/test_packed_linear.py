import torch
from torch.nn.functional import linear
from vmc.dream.linear import PackedLinear


def test_packed_products_equal_the_layers() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 35, generator=generator)
    bias = torch.randn(96, generator=generator)
    packed = PackedLinear(weight, bias)
    for rows in (1, 7, 256):
        inputs = torch.randn(rows, 35, generator=generator)
        expected = linear(inputs.double(), weight.double(), bias.double())
        torch.testing.assert_close(packed(inputs).double(), expected, atol=1e-4, rtol=1e-5)
