"""Draws one observation: field, grass, road, car and panel on blocks, then the shrink.

Follows ``CarRacing._render``, ``_render_road``, ``_draw_colored_polygon`` and
``_render_indicators`` of gymnasium 1.4.0 (``envs/box2d/car_racing.py``) and ``Car.draw``
(``car_dynamics.py``) in the mode "state_pixels", which draws no skid particles.
"""

from __future__ import annotations

import math

import numpy as np

from vmc.envs.carracing.blocks import OFFSET_X, OFFSET_Y, OPEN, U, open_block
from vmc.envs.carracing.kernels import Array, kernel, largest, smallest
from vmc.envs.carracing.lines import aa_polygon
from vmc.envs.carracing.official import car_dynamics, car_racing
from vmc.envs.carracing.shrink import fill_flat, shrink
from vmc.envs.carracing.solids import solid_polygon
from vmc.envs.carracing.tables import AXIS_X, AXIS_Y, HEIGHT, PANEL_CELL, ROAD_ROWS, WIDTH

CELL_X, CELL_Y = AXIS_X.cell, AXIS_Y.cell

MARGIN = float(car_racing.MAX_SHAPE_DIM)
FIELD = float(car_racing.PLAYFIELD)
SIZE = float(car_dynamics.SIZE)
WHEEL_R, WHEEL_W = car_dynamics.WHEEL_R, car_dynamics.WHEEL_W
FIELD_SQUARE = np.array([[FIELD, FIELD], [FIELD, -FIELD], [-FIELD, -FIELD], [-FIELD, FIELD]])
MAX_COLOURS = 64  # a frame needs about ten

# the ``numbers`` array holds the view, then the panel's values, then the bodies
VALUES, VIEW_NUMBERS = 5, 13
COS, SIN, ZOOM, TRANS_X, TRANS_Y = range(5)
# positions in a row of the ``bodies`` array (4 wheels, then the hull)
POS_X, POS_Y, ROT_COS, ROT_SIN, MARKS = range(5)
BODY_NUMBERS = 8


@kernel
def colour_index(palette: Array, used: Array, flat: Array, r: int, g: int, b: int) -> int:
    """Return the palette number of a colour; add the colour if it is new.

    A full palette returns its last number.  The caller then sees in ``used`` that the
    palette is full, and uses the official drawing.
    """
    colour = r | (g << 16) | (b << 32)
    count: int = used[0]
    for k in range(count):
        if palette[k] == colour:
            return k
    k = min(count, MAX_COLOURS - 1)
    palette[k] = colour
    fill_flat(flat, k, colour)
    used[0] = k + 1  # MAX_COLOURS: full
    return k


@kernel
def int16(value: float) -> int:
    """Convert a coordinate as ``gfxdraw`` does: truncate it, then keep the low 16 bits."""
    return ((int(value) + 32768) & 65535) - 32768


@kernel
def place(points: Array, view: Array, xs: Array, ys: Array, checked: bool) -> bool:
    """Convert four world points to surface pixels; False if the original does not draw them.

    The order of operations is that of the original: rotate, zoom, translate.
    """
    c, s, zoom, tx, ty = view[COS], view[SIN], view[ZOOM], view[TRANS_X], view[TRANS_Y]
    near = False
    for i in range(4):
        px, py = points[i, 0], points[i, 1]
        x = (c * px - s * py) * zoom + tx
        y = (s * px + c * py) * zoom + ty
        near = near or (-MARGIN <= x <= WIDTH + MARGIN and -MARGIN <= y <= HEIGHT + MARGIN)
        xs[i], ys[i] = int16(x), int16(y)
    if not checked:
        return True
    # outside this box no pixel of the polygon or its outline is on the visible rows
    if largest(xs, 4) < -1 or smallest(xs, 4) > WIDTH or smallest(ys, 4) > HEIGHT:
        return False
    return near and largest(ys, 4) >= HEIGHT - ROAD_ROWS - 1


@kernel
def in_reach(centre: Array, view: Array) -> bool:
    """Returns whether a polygon with this (x, y, radius) can touch the visible part; never False by error."""
    c, s, zoom = view[COS], view[SIN], view[ZOOM]
    x = (c * centre[0] - s * centre[1]) * zoom + view[TRANS_X] - 0.5 * WIDTH
    y = (s * centre[0] + c * centre[1]) * zoom + view[TRANS_Y] - (HEIGHT - 0.5 * ROAD_ROWS)
    reach = 620.0 + centre[2] * zoom  # 611 is half the visible diagonal
    return bool(x * x + y * y <= reach * reach)


@kernel
def covers_screen(xs: Array, ys: Array) -> bool:
    """Returns whether the field's square contains the surface with a margin of some pixels."""
    for i in range(4):
        dx, dy = xs[i] - xs[i - 1], ys[i] - ys[i - 1]
        spare = 4 * (abs(dx) + abs(dy))
        for corner in range(4):
            x = (WIDTH if corner & 1 else 0) - xs[i - 1]
            y = (HEIGHT if corner & 2 else 0) - ys[i - 1]
            # the field's vertices run clockwise in surface coordinates
            if dy * x - dx * y < spare:
                return False
    return True


@kernel
def draw_world(
    store: Array,
    state: Array,
    palette: Array,
    used: Array,
    flat: Array,
    left: Array,
    right: Array,
    scratch: Array,
    view: Array,
    ground: Array,
    grass: Array,
    grass_centre: Array,
    road: Array,
    road_centre: Array,
    road_colour: Array,
) -> None:
    """``_render_road``: draw the field, the grass squares, then the road in track order."""
    xs, ys = scratch[0, :4], scratch[1, :4]
    k = colour_index(palette, used, flat, int(ground[0]), int(ground[1]), int(ground[2]))
    place(FIELD_SQUARE, view, xs, ys, False)
    if covers_screen(xs, ys):
        state[:PANEL_CELL] = k
    else:
        state[:PANEL_CELL] = colour_index(palette, used, flat, 0, 0, 0)
        aa_polygon(store, state, palette, k, left, right, scratch[2], xs, ys)
    k = colour_index(palette, used, flat, int(ground[3]), int(ground[4]), int(ground[5]))
    for n in range(len(grass)):
        if in_reach(grass_centre[n], view) and place(grass[n], view, xs, ys, True):
            aa_polygon(store, state, palette, k, left, right, scratch[2], xs, ys)
    for n in range(len(road)):
        if in_reach(road_centre[n], view) and place(road[n], view, xs, ys, True):
            k = colour_index(
                palette,
                used,
                flat,
                int(road_colour[n, 0]),
                int(road_colour[n, 1]),
                int(road_colour[n, 2]),
            )
            aa_polygon(store, state, palette, k, left, right, scratch[2], xs, ys)


@kernel
def draw_shape(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    scratch: Array,
    view: Array,
    body: Array,
    shape: Array,
    n: int,
) -> None:
    """Draw one shape of a body: Box2D's transform in float32, then the view's in float64."""
    c, s, zoom = view[COS], view[SIN], view[ZOOM]
    bc, bs = np.float32(body[ROT_COS]), np.float32(body[ROT_SIN])
    bx, by = np.float32(body[POS_X]), np.float32(body[POS_Y])
    xs, ys, cross = scratch[0], scratch[1], scratch[2]
    for i in range(n):
        vx, vy = shape[i, 0], shape[i, 1]
        px = np.float64((bc * vx - bs * vy) + bx)
        py = np.float64((bs * vx + bc * vy) + by)
        xs[i] = int((c * px - s * py) * zoom + view[TRANS_X])
        ys[i] = int((s * px + c * py) * zoom + view[TRANS_Y])
    solid_polygon(store, state, palette, k, left, right, xs, ys, n, True, cross)


@kernel
def white_shape(shape: Array, marks: Array) -> bool:
    """Compute the bright stripe of a turning wheel; False if it is hidden.

    ``marks`` holds sin and cos of its two edges.
    """
    s1, c1, s2, c2 = marks[0], marks[1], marks[2], marks[3]
    if s1 > 0 and s2 > 0:
        return False
    if s1 > 0:
        c1 = np.sign(c1)
    if s2 > 0:
        c2 = np.sign(c2)
    for i in range(4):
        shape[i, 0] = (WHEEL_W if i in (1, 2) else -WHEEL_W) * SIZE
        shape[i, 1] = WHEEL_R * (c1 if i < 2 else c2) * SIZE
    return True


@kernel
def draw_car(
    store: Array,
    state: Array,
    palette: Array,
    used: Array,
    flat: Array,
    left: Array,
    right: Array,
    scratch: Array,
    view: Array,
    bodies: Array,
    stripe: Array,
    wheel: Array,
    hull: Array,
    hull_sizes: Array,
    hull_colour: Array,
) -> None:
    """``Car.draw`` without particles: draw four wheels with their stripes, then the hull."""
    black = colour_index(palette, used, flat, 0, 0, 0)
    bright = colour_index(palette, used, flat, 77, 77, 77)
    body = colour_index(palette, used, flat, int(hull_colour[0]), int(hull_colour[1]), int(hull_colour[2]))
    for w in range(4):
        draw_shape(store, state, palette, black, left, right, scratch, view, bodies[w], wheel, 4)
        if white_shape(stripe, bodies[w, MARKS:]):
            draw_shape(store, state, palette, bright, left, right, scratch, view, bodies[w], stripe, 4)
    for f in range(len(hull)):
        draw_shape(
            store,
            state,
            palette,
            body,
            left,
            right,
            scratch,
            view,
            bodies[4],
            hull[f],
            hull_sizes[f],
        )


@kernel
def draw_bar(
    store: Array,
    state: Array,
    palette: Array,
    k: int,
    left: Array,
    right: Array,
    scratch: Array,
    x0: float,
    x1: float,
    y0: float,
    y1: float,
) -> None:
    """Draw one indicator: corners in the original's order, truncated as in pygame."""
    xs, ys, cross = scratch[0], scratch[1], scratch[2]
    xs[0], xs[1], xs[2], xs[3] = int(x0), int(x1), int(x1), int(x0)
    ys[0], ys[1], ys[2], ys[3] = int(y0), int(y0), int(y1), int(y1)
    solid_polygon(store, state, palette, k, left, right, xs, ys, 4, False, cross)


@kernel
def draw_panel(
    store: Array,
    state: Array,
    palette: Array,
    used: Array,
    flat: Array,
    left: Array,
    right: Array,
    scratch: Array,
    values: Array,
) -> None:
    """``_render_indicators``; values: hull velocity x, y, four wheel speeds, steering, spin."""
    state[PANEL_CELL:] = colour_index(palette, used, flat, 0, 0, 0)
    s, h, bottom = WIDTH / 40.0, HEIGHT / 40.0, HEIGHT
    speed = math.sqrt(values[0] * values[0] + values[1] * values[1])
    for n in range(5):
        value = speed if n == 0 else values[n + 1]
        if not abs(value) > 1e-4:
            continue
        if n == 0:
            k = colour_index(palette, used, flat, 255, 255, 255)
            column, value = 5, 0.02 * value
        else:
            k = colour_index(palette, used, flat, 0 if n < 3 else 51, 0, 255)
            column, value = 6 + n, 0.01 * value
        draw_bar(
            store,
            state,
            palette,
            k,
            left,
            right,
            scratch,
            column * s,
            (column + 1) * s,
            bottom - (h + h * value),
            bottom - h,
        )
    for n in range(2):
        value = values[6 + n]
        if not abs(value) > 1e-4:
            continue
        column = 20 if n == 0 else 30
        value = -10.0 * value if n == 0 else -0.8 * value
        k = colour_index(palette, used, flat, 255 * n, 255 * (1 - n), 0)
        draw_bar(
            store,
            state,
            palette,
            k,
            left,
            right,
            scratch,
            column * s,
            (column + value) * s,
            bottom - 4 * h,
            bottom - 2 * h,
        )


@kernel
def draw_text(store: Array, state: Array, palette: Array, text: Array, x0: int, y0: int) -> None:
    """Copy the score's picture, which is already clipped to the surface, over the panel."""
    height, width = text.shape
    for i in range(CELL_Y[y0], CELL_Y[y0 + height - 1] + 1):
        for j in range(CELL_X[x0], CELL_X[x0 + width - 1] + 1):
            if state[i, j] != OPEN:
                open_block(store, state, palette, i, j)
    for r in range(height):
        row = OFFSET_Y[y0 + r]
        for x in range(width):
            store[U(row + OFFSET_X[U(x0 + x)])] = text[U(r), U(x)]


@kernel
def draw_frame(
    out: Array,
    store: Array,
    state: Array,
    palette: Array,
    used: Array,
    flat: Array,
    left: Array,
    right: Array,
    scratch: Array,
    stripe: Array,
    numbers: Array,
    ground: Array,
    grass: Array,
    grass_centre: Array,
    road: Array,
    road_centre: Array,
    road_colour: Array,
    wheel: Array,
    hull: Array,
    hull_sizes: Array,
    hull_colour: Array,
    text: Array,
    text_x: int,
    text_y: int,
) -> None:
    """Draw the whole observation into ``out``, uint8 (96, 96, 3); numbers: see VALUES above."""
    if used[0] > MAX_COLOURS // 2:
        used[0] = 0  # only the palette and ``flat`` outlive a frame, and both are made again
    view, values = numbers[:VALUES], numbers[VALUES:VIEW_NUMBERS]
    bodies = numbers[VIEW_NUMBERS:].reshape(5, BODY_NUMBERS)
    draw_world(
        store,
        state,
        palette,
        used,
        flat,
        left,
        right,
        scratch,
        view,
        ground,
        grass,
        grass_centre,
        road,
        road_centre,
        road_colour,
    )
    draw_car(
        store,
        state,
        palette,
        used,
        flat,
        left,
        right,
        scratch,
        view,
        bodies,
        stripe,
        wheel,
        hull,
        hull_sizes,
        hull_colour,
    )
    draw_panel(store, state, palette, used, flat, left, right, scratch, values)
    draw_text(store, state, palette, text, text_x, text_y)
    shrink(out, store, state, palette, flat)
