"""The compilation of the kernels by numba.

- No ``fastmath``: the pixels depend on every rounding, and a fused multiply-add or a
  reordered sum would change some pixels.
- ``_nrt=False``: otherwise numba counts references to every array at every call, which
  took four fifths of the time.  A kernel then cannot make an array, so the caller passes
  scratch space as an argument.
- ``error_model="numpy"``: no test for a zero divisor before each division (none occurs).
- numba's cache ignores changes in *other* files that a kernel calls.  Delete
  ``__pycache__`` after a change in these modules.  The tests' pixel comparison detects a
  stale cache.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

numba: Any = importlib.import_module("numba")

Array = Any  # numba infers the array types from the call; its decorator is untyped
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
    """The context of a kernel's call; the first call in a process compiles or loads the kernel.

    It switches on LLVM's straight-line vectoriser, which is off in numba by default.  LLVM
    unrolls the short loops over one row of a block before its loop vectoriser runs.
    """
    return _NOTHING if _compiled[0] else _vectorising()


_NOTHING: AbstractContextManager[None] = nullcontext()

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a kernel (a decorator)."""
    compiled: F = numba.njit(cache=True, _nrt=False, error_model="numpy")(function)
    return compiled


def inlined(function: F) -> F:
    """Compile a small kernel that is always inlined into its callers (a decorator)."""
    compiled: F = numba.njit(cache=True, _nrt=False, error_model="numpy", forceinline=True)(function)
    return compiled


@inlined
def smallest(values: Array, n: int) -> int:
    """Return min(values[:n])."""
    found: int = values[0]
    for i in range(1, n):
        found = min(found, values[i])
    return found


@inlined
def largest(values: Array, n: int) -> int:
    """Return max(values[:n])."""
    found: int = values[0]
    for i in range(1, n):
        found = max(found, values[i])
    return found


@kernel
def sort_few(values: Array, n: int) -> None:
    """Sort values[:n] in place; n is small."""
    for i in range(1, n):
        value, at = values[i], i
        while at > 0 and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value
