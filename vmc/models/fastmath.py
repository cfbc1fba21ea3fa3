"""Functions for numba's kernels: float32 polynomials in place of library calls, so that whole vectors are computed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

numba: Any = importlib.import_module("numba")
extending: Any = importlib.import_module("numba.extending")

Function = TypeVar("Function", bound=Callable[..., Any])
_FLAGS = {"fastmath": True, "error_model": "numpy"}


def compiled(function: Function) -> Function:
    """A kernel: compiled when it is first called, and kept on disk."""
    return numba.njit(cache=True, **_FLAGS)(function)  # type: ignore[no-any-return]


def inlined(function: Function) -> Function:
    """A part of kernels, so that they stay loops that can be vectorised."""
    return numba.njit(inline="always", **_FLAGS)(function)  # type: ignore[no-any-return]


_f = np.float32
_HALF, _ONE, _TWO = _f(0.5), _f(1), _f(2)
_LOG2_E, _LN2_HIGH, _LN2_LOW = _f(1.44269504), _f(0.693359375), _f(-2.12194440e-4)
_EXP_LOWEST = _f(-87)
# Beyond this sigmoid and tanh are 0 or 1 to the last bit, and exp(2x) stays finite.
LIMIT = _f(20)
# Cephes' expf: exp(x) = 1 + x + x^2 p(x) for |x| < ln(2) / 2.
_P0, _P1, _P2 = _f(1.9875691500e-4), _f(1.3981999507e-3), _f(8.3334519073e-3)
_P3, _P4, _P5 = _f(4.1665795894e-2), _f(1.6666665459e-1), _f(5.0000001201e-1)


@extending.intrinsic  # type: ignore[untyped-decorator]
def _float_of_bits(context: Any, bits: Any) -> Any:
    """The float32 with these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(numba.float32))

    return numba.float32(numba.int32), generate


@inlined
def exp(x: Any) -> Any:
    """exp(x) for x <= 88, to 2 units in the last place; 0 to within 1e-38 below -87."""
    x = max(x, _EXP_LOWEST)
    power = np.floor(x * _LOG2_E + _HALF)
    x = x - power * _LN2_HIGH - power * _LN2_LOW
    series = ((((_P0 * x + _P1) * x + _P2) * x + _P3) * x + _P4) * x + _P5
    series = series * x * x + x + _ONE
    return series * _float_of_bits(np.int32((np.int32(power) + np.int32(127)) << np.int32(23)))


@inlined
def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return _ONE / (_ONE + exp(-max(min(x, LIMIT), -LIMIT)))


@inlined
def tanh(x: Any) -> Any:
    """(1 - exp(-2x)) / (1 + exp(-2x))."""
    power = exp(-_TWO * max(min(x, LIMIT), -LIMIT))
    return (_ONE - power) / (_ONE + power)
