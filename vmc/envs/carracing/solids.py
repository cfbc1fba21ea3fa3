"""pygame's polygon without anti-aliasing (``draw.polygon``), on blocks.

It draws the car and the indicators.  It re-implements ``draw_fillpoly`` of pygame-ce 2.5.8
(``draw.c``), which differs from SDL_gfx.  Crossings are float32.  In each row the first
crossing is rounded down and the second up.  Horizontal edges inside the outline are drawn
as extra lines.
"""

from __future__ import annotations

import math

import numpy as np

from vmc.envs.carracing.blocks import fill_rows
from vmc.envs.carracing.kernels import Array, inlined, kernel, largest, smallest, sort_few
from vmc.envs.carracing.tables import HEIGHT


@kernel
def fill_line(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    y: int,
    x0: int,
    x1: int,
    flip: bool,
) -> None:
    """``drawhorzlineclipbounding``: draw one clipped line; its ends are in any order."""
    if 0 <= y < HEIGHT:
        r = HEIGHT - 1 - y if flip else y
        left[r], right[r] = min(x0, x1), max(x0, x1)
        fill_rows(store, state, palette, k, left, right, r, r)


@inlined
def crossings(xs: Array, ys: Array, n: int, y: int, high: int, cross: Array) -> int:
    """Write the crossings of row y to ``cross``, in the order of the edges; return their number."""
    count = 0
    for i in range(n):
        p = i - 1 if i else n - 1
        x1, y1, x2, y2 = xs[p], ys[p], xs[i], ys[i]
        if y1 == y2:
            continue
        if y1 > y2:
            x1, y1, x2, y2 = x2, y2, x1, y1
        if y1 <= y < y2 or (y == high and y2 == high):
            at = np.float32((y - y1) * (x2 - x1)) / np.float32(y2 - y1)
            whole = math.floor(at) if count % 2 == 0 else math.ceil(at)
            cross[count] = int(whole) + x1
            count += 1
    return count


@kernel
def solid_polygon(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    xs: Array,
    ys: Array,
    n: int,
    flip: bool,
    cross: Array,
) -> None:
    """``draw.polygon``, filled; ``flip`` if the vertices are in the unflipped picture.

    Rows of one span, as in the game's convex shapes, are filled together.  A row with more
    spans is filled separately.
    """
    low, high = smallest(ys, n), largest(ys, n)
    if low == high:
        x0, x1 = smallest(xs, n), largest(xs, n)
        fill_line(store, state, palette, k, left, right, low, x0, x1, flip)
        return
    y0, y1 = max(low, 0), min(high, HEIGHT - 1)
    for y in range(y0, y1 + 1):
        r = HEIGHT - 1 - y if flip else y
        count = crossings(xs, ys, n, y, high, cross)
        left[r], right[r] = min(cross[0], cross[1]), max(cross[0], cross[1])
        if count > 2:
            sort_few(cross, count)
            for i in range(0, count - 1, 2):
                left[r], right[r] = cross[i], cross[i + 1]
                fill_rows(store, state, palette, k, left, right, r, r)
    if flip:
        y0, y1 = HEIGHT - 1 - y1, HEIGHT - 1 - y0
    fill_rows(store, state, palette, k, left, right, y0, y1)
    for i in range(n):
        p = i - 1 if i else n - 1
        if low < ys[i] < high and ys[p] == ys[i]:
            fill_line(store, state, palette, k, left, right, ys[i], xs[i], xs[p], flip)
