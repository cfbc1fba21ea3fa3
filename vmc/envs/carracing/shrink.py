"""Shrinks blocks to the 96x96 picture exactly as pygame's ``smoothscale`` does.

Re-implements ``filter_shrink_X_SSE2`` and ``filter_shrink_Y_SSE2`` of pygame-ce 2.5.8
(``simd_transform_sse2.c``).  The filter adds whole pixels and two pixels weighted by 14-bit
fractions, each truncated.  It multiplies the sum by a 16-bit reciprocal and truncates.  It
does so along x to 8 bits, then along y.  All three lanes are computed at once (see
``blocks``).
"""

from __future__ import annotations

from vmc.envs.carracing.blocks import BLOCK, OPEN, PITCH, U
from vmc.envs.carracing.kernels import Array, inlined, kernel
from vmc.envs.carracing.tables import AXIS_X, AXIS_Y, SIDE

FULL_X, FULL_Y = AXIS_X.full, AXIS_Y.full
LASTW_X, PREVW_X = AXIS_X.weight_last, AXIS_X.weight_prev
LASTW_Y, PREVW_Y = AXIS_Y.weight_last, AXIS_Y.weight_prev
RECIP_X, RECIP_Y = AXIS_X.recip, AXIS_Y.recip
PAIR = 0x000000FF000000FF  # red and blue without green, each with room for 32 bits
WIDE = 0x0000FFFF0000FFFF


@inlined
def part(pixel: int, weight: int) -> int:
    """Multiply each lane of a pixel by a 14-bit fraction and truncate."""
    red_blue = (((pixel & PAIR) * weight) >> 14) & PAIR
    green = (((pixel >> 16) & 0xFF) * weight) >> 14
    return red_blue | (green << 16)


@inlined
def scaled(total: int, recip: int) -> int:
    """Multiply each lane of a sum by a 16-bit reciprocal and truncate to 8 bits."""
    red_blue = (((total & WIDE) * recip) >> 16) & PAIR
    green = ((((total >> 16) & 0xFFFF) * recip) >> 16) & 0xFF
    return red_blue | (green << 16)


@inlined
def row_value(store: Array, palette: Array, at: int, j: int, here: int, before: int) -> int:
    """Output column j of one source row; its pixels in block j begin at store[at].

    ``here`` and ``before`` are the states of this block and of the block to its left.
    """
    total = 0
    if here == OPEN:
        full = FULL_X[U(j)]
        for n in range(9):
            total += store[U(at + n)]
        if full == 10:
            total += store[U(at + 9)]
        total += part(store[U(at + full)], LASTW_X[U(j)])
    else:
        colour = palette[U(here)]
        total = colour * FULL_X[U(j)] + part(colour, LASTW_X[U(j)])
    weight = PREVW_X[U(j)]
    if weight != 0:
        pixel = palette[U(before)]
        if before == OPEN:
            pixel = store[U(at - BLOCK + FULL_X[U(j - 1)])]
        total += part(pixel, weight)
    return scaled(total, RECIP_X)


@kernel
def block_value(store: Array, state: Array, palette: Array, i: int, j: int) -> int:
    """Output pixel (i, j) of a block that is open or has a neighbour of another colour."""
    jb = max(j - 1, 0)
    here, before = state[U(i), U(j)], state[U(i), U(jb)]
    at = (i * SIDE + j) * BLOCK
    full = FULL_Y[U(i)]
    total = 0
    if here != OPEN and here == before:
        value = row_value(store, palette, at, j, here, before)
        total = value * full + part(value, LASTW_Y[U(i)])
    else:
        for n in range(full):
            total += row_value(store, palette, at + n * PITCH, j, here, before)
        value = row_value(store, palette, at + full * PITCH, j, here, before)
        total += part(value, LASTW_Y[U(i)])
    weight = PREVW_Y[U(i)]
    if weight != 0:
        at += FULL_Y[U(i - 1)] * PITCH - SIDE * BLOCK
        here, before = state[U(i - 1), U(j)], state[U(i - 1), U(jb)]
        total += part(row_value(store, palette, at, j, here, before), weight)
    return scaled(total, RECIP_Y)


@kernel
def fill_flat(flat: Array, k: int, colour: int) -> None:
    """flat[k, i, j] = output pixel (i, j) of a picture that has only this colour."""
    for i in range(SIDE):
        for j in range(SIDE):
            value = scaled(colour * FULL_X[j] + part(colour, LASTW_X[j]) + part(colour, PREVW_X[j]), RECIP_X)
            total = value * FULL_Y[i] + part(value, LASTW_Y[i]) + part(value, PREVW_Y[i])
            flat[k, i, j] = scaled(total, RECIP_Y)


@kernel
def shrink(out: Array, store: Array, state: Array, palette: Array, flat: Array) -> None:
    """Write the whole picture; use ``flat`` if a block and its neighbours have one colour."""
    for i in range(SIDE):
        ia = i - 1 if PREVW_Y[U(i)] != 0 else i
        left, corner = state[U(i), U(0)], state[U(ia), U(0)]
        for j in range(SIDE):
            here, above = state[U(i), U(j)], state[U(ia), U(j)]
            if here != OPEN and here == above and here == left and here == corner:
                value = flat[U(here), U(i), U(j)]
            else:
                value = block_value(store, state, palette, i, j)
            out[U(i), U(j), U(0)] = value & 0xFF
            out[U(i), U(j), U(1)] = (value >> 16) & 0xFF
            out[U(i), U(j), U(2)] = value >> 32
            left, corner = here, above
