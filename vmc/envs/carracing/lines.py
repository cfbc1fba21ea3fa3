"""SDL_gfx's anti-aliased polygon, on blocks.

Gives exactly the pixels of ``gfxdraw.aapolygon`` followed by ``gfxdraw.filled_polygon``
(pygame-ce 2.5.8, ``SDL_gfxPrimitives.c``: ``_clipLine``, ``_aalineColor`` and
``filledPolygonColorMT``).  Here y is SDL's row in the picture *before* the game flips it:
picture row r = 799 - y.

The original blends the outline first and fills over it.  If every row of the polygon is
one span, this module fills first.  It then blends only the outline pixels outside the
spans, because the fill overwrites the others.
"""

from __future__ import annotations

import numpy as np

from vmc.envs.carracing.blocks import U, blend_pixel, fill_rows
from vmc.envs.carracing.kernels import Array, inlined, kernel, largest, smallest, sort_few
from vmc.envs.carracing.tables import HEIGHT, ROAD_ROWS, WIDTH

RIGHT, BOTTOM = WIDTH - 1, HEIGHT - 1
FIRST_Y = HEIGHT - ROAD_ROWS  # the panel covers the rows before this one
SOLID = 256
MASK32 = 0xFFFFFFFF


@inlined
def out_code(x: int, y: int) -> int:
    """Cohen-Sutherland code of a point and the surface: 1 left, 2 right, 4 bottom, 8 top."""
    code = 0
    if x < 0:
        code = 1
    elif x > RIGHT:
        code = 2
    if y < 0:
        code |= 8
    elif y > BOTTOM:
        code |= 4
    return code


@kernel
def clip_line(x1: int, y1: int, x2: int, y2: int) -> tuple[bool, int, int, int, int]:
    """``_clipLine``: clip a line in float32 with truncation; it can exchange the two ends."""
    while True:
        code1, code2 = out_code(x1, y1), out_code(x2, y2)
        if code1 | code2 == 0:
            return True, x1, y1, x2, y2
        if code1 & code2 != 0:
            return False, x1, y1, x2, y2
        if code1 == 0:
            x1, y1, x2, y2 = x2, y2, x1, y1
            code1, code2 = code2, code1
        slope = np.float32(1.0)
        if x1 != x2:
            slope = np.float32(y2 - y1) / np.float32(x2 - x1)
        if code1 & 3:
            edge = 0 if code1 & 1 else RIGHT
            y1 += int(np.float32(edge - x1) * slope)
            x1 = edge
        else:
            edge = BOTTOM if code1 & 4 else 0
            if x1 != x2:
                x1 += int(np.float32(edge - y1) / slope)
            y1 = edge


@inlined
def outline_pixel(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    x: int,
    y: int,
    alpha: int,
) -> None:
    """Blend one outline pixel, unless the panel or the fill covers it or it is off the surface."""
    if x < 0 or x > RIGHT or y < FIRST_Y:
        return
    r = BOTTOM - y
    inside = (left[U(r)] <= x) & (x <= right[U(r)])
    blend_pixel(store, state, palette, k, r, x, 0 if inside else alpha)


@kernel
def straight_line(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    x1: int,
    y1: int,
    x2: int,
    y2: int,
) -> None:
    """Draw a solid horizontal or vertical line, both ends included."""
    for y in range(min(y1, y2), max(y1, y2) + 1):
        for x in range(min(x1, x2), max(x1, x2) + 1):
            outline_pixel(store, state, palette, k, left, right, x, y, SOLID)


@inlined
def pixel_pair(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    x1: int,
    y1: int,
    alpha1: int,
    x2: int,
    y2: int,
    alpha2: int,
) -> None:
    """Blend two pixels; the second is usually inside the fill, so a branch skips it."""
    outline_pixel(store, state, palette, k, left, right, x1, y1, alpha1)
    if y2 >= FIRST_Y and (x2 < left[U(BOTTOM - y2)] or x2 > right[U(BOTTOM - y2)]):
        outline_pixel(store, state, palette, k, left, right, x2, y2, alpha2)


@kernel
def steep_edge(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    x: int,
    y1: int,
    dx: int,
    dy: int,
    step: int,
) -> None:
    """Draw the pixels between the ends of a Wu line that is higher than wide.

    In most rows one of the two pixels is inside the polygon, under the fill.  The middle
    row predicts which one; a wrong prediction only costs time.
    """
    adjust = ((dx << 16) // dy) << 16
    # skip the rows under the panel in one step
    skip = max(min(FIRST_Y - 1 - y1, dy - 1), 0)
    r = BOTTOM - (y1 + max(dy // 2, skip))
    middle = x + step * (dx // 2)
    far_first = (2 * middle < left[r] + right[r]) == (step < 0)
    x += step * ((skip * adjust) >> 32)
    error = (skip * adjust) & MASK32
    for y in range(y1 + 1 + skip, y1 + dy):
        error += adjust
        x += step * (error >> 32)
        error &= MASK32
        weight = error >> 24
        xa, xb, weight_a = x, x + step, 255 - weight
        if far_first:
            xa, xb, weight_a = xb, xa, weight
        alpha_a, alpha_b = (255 * weight_a) >> 8, (255 * (255 - weight_a)) >> 8
        pixel_pair(store, state, palette, k, left, right, xa, y, alpha_a, xb, y, alpha_b)


@kernel
def flat_edge(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    x1: int,
    y1: int,
    dx: int,
    dy: int,
    step: int,
) -> None:
    """Draw the pixels between the ends of a Wu line that is at least as wide as high."""
    # in the original a slope of exactly 1 overflows to 0, and y then advances at every pixel
    adjust = (dy << 16) // dx << 16
    x, r = x1 + step * (dx // 2), BOTTOM - y1 - dy // 2
    far_first = r + 2 < ROAD_ROWS and left[r + 2] <= x <= right[r + 2]
    for n in range(1, dx):
        error = n * adjust
        weight = (error >> 24) & 255
        x, y = x1 + step * n, y1 + (error >> 32)
        ya, yb, weight_a = y, y + 1, 255 - weight
        if far_first:
            ya, yb, weight_a = yb, ya, weight
        alpha_a, alpha_b = (255 * weight_a) >> 8, (255 * (255 - weight_a)) >> 8
        pixel_pair(store, state, palette, k, left, right, x, ya, alpha_a, x, yb, alpha_b)


@kernel
def outline_edge(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    x1: int,
    y1: int,
    x2: int,
    y2: int,
) -> None:
    """``_aalineColor`` without its end point: draw one Wu line; its first pixel is solid."""
    seen, x1, y1, x2, y2 = clip_line(x1, y1, x2, y2)
    if not seen:
        return
    if x1 == x2 or y1 == y2:
        straight_line(store, state, palette, k, left, right, x1, y1, x2, y2)
        return
    outline_pixel(store, state, palette, k, left, right, x1, y1, SOLID)
    if y1 > y2:
        x1, y1, x2, y2 = x2, y2, x1, y1
    if y2 < FIRST_Y:
        return
    step = 1 if x2 >= x1 else -1
    dx, dy = abs(x2 - x1), y2 - y1
    if dy > dx:
        steep_edge(store, state, palette, k, left, right, x1, y1, dx, dy, step)
    else:
        flat_edge(store, state, palette, k, left, right, x1, y1, dx, dy, step)


@inlined
def trace_edge(chain: Array, x1: int, y1: int, x2: int, y2: int, bottom: int) -> None:
    """chain[r] = the edge's 16.16 crossing with each row y1 <= y < y2 (y2 too at the bottom).

    The loop adds quotient and remainder instead of the original's division
    ``65536 * (y - y1) / (y2 - y1)`` in every row.
    """
    dx, dy = x2 - x1, y2 - y1
    y = max(y1, FIRST_Y)
    end = min(y2 if y2 == bottom else y2 - 1, BOTTOM)
    if y > end:
        return
    whole, rest = divmod(65536 * (y - y1), dy)
    whole_step, rest_step = divmod(65536, dy)
    base = 65536 * x1
    for r in range(BOTTOM - y, BOTTOM - end - 1, -1):
        chain[U(r)] = whole * dx + base
        whole += whole_step
        rest += rest_step
        if rest >= dy:
            rest -= dy
            whole += 1


@inlined
def round_spans(left: Array, right: Array, r0: int, r1: int) -> None:
    """Turn pairs of 16.16 crossings into inclusive pixel spans, in place."""
    for r in range(r0, r1 + 1):
        a, b = left[U(r)], right[U(r)]
        lo, hi = min(a, b) + 1, max(a, b) - 1
        lo = (lo >> 16) + ((lo & 32768) >> 15)
        hi = (hi >> 16) + ((hi & 32768) >> 15)
        left[U(r)], right[U(r)] = min(lo, hi), max(lo, hi)


@kernel
def fill_any(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    cross: Array,
    xs: Array,
    ys: Array,
    low: int,
    high: int,
) -> None:
    """``filledPolygonColorMT`` row by row, for polygons with several spans per row."""
    n = len(xs)
    for y in range(max(low, FIRST_Y), min(high, BOTTOM) + 1):
        r, count = BOTTOM - y, 0
        for i in range(n):
            x1, y1, x2, y2 = xs[i - 1], ys[i - 1], xs[i], ys[i]
            if y1 == y2:
                continue
            if y1 > y2:
                x1, y1, x2, y2 = x2, y2, x1, y1
            if y1 <= y < y2 or (y == high and y1 < y <= y2):
                cross[count] = ((65536 * (y - y1)) // (y2 - y1)) * (x2 - x1) + 65536 * x1
                count += 1
        sort_few(cross, count)
        for i in range(0, count - 1, 2):
            left[r], right[r] = cross[i], cross[i + 1]
            round_spans(left, right, r, r)
            fill_rows(store, state, palette, k, left, right, r, r)


@kernel
def turns(ys: Array) -> int:
    """Count the outline's changes between up and down; 2 means one span per row."""
    count, before = 0, 0
    for i in range(-1, 2 * len(ys) - 1):
        d = ys[i % len(ys)] - ys[(i - 1) % len(ys)]
        if d != 0:
            way = 1 if d > 0 else -1
            if before * way < 0 and i >= len(ys) - 1:
                count += 1
            before = way
    return count


@kernel
def aa_polygon(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    cross: Array,
    xs: Array,
    ys: Array,
) -> None:
    """``aapolygon`` then ``filled_polygon`` in colour k; the vertices xs, ys are integers."""
    n = len(xs)
    low, high = smallest(ys, n), largest(ys, n)
    r0, r1 = max(BOTTOM - high, 0), min(BOTTOM - low, ROAD_ROWS - 1)
    simple = low < high and turns(ys) == 2
    if simple:
        for i in range(n):
            if ys[i - 1] < ys[i]:
                trace_edge(left, xs[i - 1], ys[i - 1], xs[i], ys[i], high)
            elif ys[i - 1] > ys[i]:
                trace_edge(right, xs[i], ys[i], xs[i - 1], ys[i - 1], high)
        round_spans(left, right, r0, r1)
        fill_rows(store, state, palette, k, left, right, r0, r1)
    else:
        for r in range(r0, r1 + 1):  # empty spans: every outline pixel is drawn
            left[r], right[r] = 1, 0
    for i in range(n):
        m = i + 1 if i + 1 < n else 0
        outline_edge(store, state, palette, k, left, right, xs[i], ys[i], xs[m], ys[m])
    if not simple:
        fill_any(store, state, palette, k, left, right, cross, xs, ys, low, high)
