"""The frame store: 96x96 blocks, each with one colour or with single pixels.

Most of a frame consists of large areas of one colour.  A block holds the source pixels of
one output pixel.  A closed block stores only a palette number.  When an edge crosses it,
the block is opened: its pixels are written to the store and drawn one by one.  The pixels
of a closed block are never read, so writes to them have no effect.

A block's pixels are contiguous, ``PITCH`` per row, in picture row order (0 at the top).
Pixels and colours are int64 with 16 bits (a lane) per channel, red lowest.  One operation
then blends, adds or scales all three channels.  No lane can overflow into the next,
because the largest lane value is 255 * 256.

Indices in hot loops are unsigned (``U``), because numba tests signed ones for being negative.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import uint64

from vmc.envs.carracing.kernels import Array, inlined, kernel
from vmc.envs.carracing.tables import AXIS_X, AXIS_Y, HEIGHT, SIDE, WIDTH

U = uint64
OPEN = 255  # block state: the pixels are valid
LANES = 0x000000FF00FF00FF
PITCH = 12  # at most 11 pixels; 12 fills whole vectors
USED = 9 * PITCH
BLOCK = 112  # whole cache lines

CELL_X, CELL_Y = AXIS_X.cell, AXIS_Y.cell
START_X, START_Y = AXIS_X.start, AXIS_Y.start
LAST_X, LAST_Y = AXIS_X.last, AXIS_Y.last
FIRST_FROM, LAST_UNTIL = AXIS_X.first_from, AXIS_X.last_until

# the index of a pixel in the store is OFFSET_X[x] + OFFSET_Y[r]
OFFSET_X = CELL_X * BLOCK + np.arange(WIDTH) - START_X[CELL_X]
OFFSET_Y = CELL_Y * (BLOCK * SIDE) + (np.arange(HEIGHT) - START_Y[CELL_Y]) * PITCH

# FROM[PITCH + d] = all ones for d >= 0, else zero
FROM = np.repeat(np.array([0, -1], np.int64), PITCH)
UNTIL = ~FROM


@inlined
def open_block(store: Array, state: Array, palette: Array, i: int, j: int) -> None:
    """Open a closed block: write its colour to all its pixels."""
    colour = palette[U(state[U(i), U(j)])]
    base = (i * SIDE + j) * BLOCK
    for n in range(USED):
        store[U(base + n)] = colour
    state[U(i), U(j)] = OPEN


@inlined
def blend_pixel(store: Array, state: Array, palette: Array, k: int, r: int, x: int, alpha: int) -> None:
    """Blend one pixel with colour k and an alpha from 0 (transparent) to 256 (solid).

    ``_putPixelAlpha`` (SDL_gfxPrimitives.c) computes d + ((s - d) * a >> 8) per channel,
    which is the same integer as (d * (256 - a) + s * a) >> 8.
    """
    i, j = CELL_Y[U(r)], CELL_X[U(x)]
    s = state[U(i), U(j)]
    if (s != OPEN) & (s != k) & (alpha != 0):
        open_block(store, state, palette, i, j)
    at = OFFSET_Y[U(r)] + OFFSET_X[U(x)]
    old = store[U(at)]
    store[U(at)] = ((old * (256 - alpha) + palette[U(k)] * alpha) >> 8) & LANES


@kernel
def fill_edge_blocks(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    i: int,
    a: int,
    b: int,
    j0: int,
    j1: int,
) -> None:
    """Fill rows a..b (all in block row i) of blocks j0..j1 between left[r] and right[r].

    A block of colour k stays as it is.  The loop writes whole rows through a mask, which
    avoids a branch on the position of the edge.
    """
    colour = palette[U(k)]
    for j in range(j0, j1 + 1):
        s = state[U(i), U(j)]
        if s == k:
            continue
        if s != OPEN:
            open_block(store, state, palette, i, j)
        x0 = START_X[U(j)]
        base = OFFSET_X[U(x0)]
        for r in range(a, b + 1):
            lo = PITCH - min(max(left[U(r)] - x0, 0), PITCH)
            hi = PITCH - 1 - min(max(right[U(r)] - x0, -1), PITCH - 1)
            at = base + OFFSET_Y[U(r)]
            for n in range(PITCH):
                mask = FROM[U(lo + n)] & UNTIL[U(hi + n)]
                old = store[U(at + n)]
                store[U(at + n)] = old ^ ((old ^ colour) & mask)


@kernel
def fill_block_row(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    i: int,
    a: int,
    b: int,
) -> None:
    """Fill rows a..b (all in block row i) between left[r] and right[r] with colour k.

    Blocks that all the rows cover fully become closed blocks of colour k.  Only the blocks
    to the left and right of them are filled pixel by pixel.
    """
    min_l = max_l = left[U(a)]
    min_r = max_r = right[U(a)]
    for r in range(a + 1, b + 1):
        lo, hi = left[U(r)], right[U(r)]
        min_l, max_l = min(min_l, lo), max(max_l, lo)
        min_r, max_r = min(min_r, hi), max(max_r, hi)
    if min_l > WIDTH - 1 or max_r < 0:
        return
    first, last = CELL_X[U(max(min_l, 0))], CELL_X[U(min(max_r, WIDTH - 1))]
    if a == START_Y[U(i)] and b == LAST_Y[U(i)] and max_l < WIDTH and min_r >= 0:
        j0, j1 = FIRST_FROM[U(max(max_l, 0))], LAST_UNTIL[U(min(min_r, WIDTH - 1))]
        if j0 <= j1:
            for j in range(j0, j1 + 1):
                state[U(i), U(j)] = k
            fill_edge_blocks(store, state, palette, k, left, right, i, a, b, first, j0 - 1)
            fill_edge_blocks(store, state, palette, k, left, right, i, a, b, j1 + 1, last)
            return
    fill_edge_blocks(store, state, palette, k, left, right, i, a, b, first, last)


@kernel
def fill_rows(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    r0: int,
    r1: int,
) -> None:
    """Fill rows r0..r1 between left[r] and right[r]; clips x, but r0..r1 must be on the surface."""
    if r0 > r1:
        return
    for i in range(CELL_Y[U(r0)], CELL_Y[U(r1)] + 1):
        a, b = max(r0, START_Y[U(i)]), min(r1, LAST_Y[U(i)])
        fill_block_row(store, state, palette, k, left, right, i, a, b)


def new_store() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Make the pixel store (int64) and the block states, uint8 (96, 96), of one environment."""
    return np.zeros(SIDE * SIDE * BLOCK, np.int64), np.zeros((SIDE, SIDE), np.uint8)
