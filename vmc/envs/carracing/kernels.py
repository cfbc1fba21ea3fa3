"""How the kernels are compiled.

- No ``fastmath``: the pixels depend on every rounding, and a fused multiply-add or a
  reordered sum would change some.
- ``_nrt=False``: without it numba counts references to every array at every call, which
  took four fifths of the time.  The price: a kernel cannot make an array, so scratch space
  comes in as an argument.
- ``error_model="numpy"``: no test for a zero divisor before each division (none occurs).
- numba's cache does not notice a change in *another* file a kernel calls into: after editing
  one of these modules delete ``__pycache__`` (the tests' pixel comparison shows a stale one).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

numba: Any = importlib.import_module("numba")

Array = Any  # the kernels' array types are the caller's; numba's decorator is untyped
_compiled = [False]


@contextmanager
def _vectorising() -> Iterator[None]:
    before = numba.config.SLP_VECTORIZE
    numba.config.SLP_VECTORIZE = 1
    try:
        yield
        _compiled[0] = True
    finally:
        numba.config.SLP_VECTORIZE = before


def compiling() -> AbstractContextManager[None]:
    """Around a kernel's call: its first one in a process compiles (or loads) it.

    LLVM's straight-line vectoriser, off in numba by default, is switched on for that: the
    short loops over one row of a block are unrolled before the loop vectoriser sees them.
    """
    return _NOTHING if _compiled[0] else _vectorising()


_NOTHING: AbstractContextManager[None] = nullcontext()

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a kernel."""
    compiled: F = numba.njit(cache=True, _nrt=False, error_model="numpy")(function)
    return compiled


def inlined(function: F) -> F:
    """Compile a small kernel that is always pasted into its callers."""
    compiled: F = numba.njit(cache=True, _nrt=False, error_model="numpy", forceinline=True)(function)
    return compiled


@inlined
def smallest(values: Array, n: int) -> int:
    """min(values[:n])"""
    found: int = values[0]
    for i in range(1, n):
        found = min(found, values[i])
    return found


@inlined
def largest(values: Array, n: int) -> int:
    """max(values[:n])"""
    found: int = values[0]
    for i in range(1, n):
        found = max(found, values[i])
    return found


@kernel
def sort_few(values: Array, n: int) -> None:
    """Sort values[:n] in place."""
    for i in range(1, n):
        value, at = values[i], i
        while at > 0 and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value
