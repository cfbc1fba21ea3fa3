"""The limits of the machine: the rates of arithmetic and of copies in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from vmc.bench.interleaved import Floor
from vmc.models.packed_linear import PackedLinear

_GEMM_SIZE = 1024
_COPY_BYTES = 64 * 2**20  # larger than any cache


def gemm(device: torch.device) -> Floor:
    """The GEMM rate of a device."""
    return Floor("GEMM", partial(gemm_rate, device))


def copy() -> Floor:
    """The rate of a copy in memory, on one thread."""
    return Floor("copy", copy_rate)


def gemm_rate(device: torch.device) -> float:
    """Floating-point operations/s of a float32 product of two 1024x1024 matrices, on the threads in use.

    The result is the faster of two ways: PyTorch's `matmul` and `PackedLinear`.
    """
    a = torch.rand(_GEMM_SIZE, _GEMM_SIZE, device=device)
    packed = PackedLinear(a, a[0])
    products: list[Callable[[], torch.Tensor]] = [partial(torch.matmul, a, a), partial(packed, a)]
    return 2 * _GEMM_SIZE**3 * max(_calls_per_second(partial(_finished, product)) for product in products)


def _finished(product: Callable[[], torch.Tensor]) -> float:
    return product()[0, 0].item()  # `item` waits for the GPU


def copy_rate() -> float:
    """Bytes/s of a copy of an array that is larger than any cache."""
    source = np.ones(_COPY_BYTES, np.uint8)
    target = np.zeros_like(source)
    return _COPY_BYTES * _calls_per_second(partial(np.copyto, target, source))


def _calls_per_second(work: Callable[[], Any]) -> float:
    work()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < 0.2:
        work()
        count += 1
    return count / (time.perf_counter() - started)
