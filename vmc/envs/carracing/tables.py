"""Constant tables of the picture's geometry: the source pixels of each output pixel.

The official picture is drawn at 1000x800, and pygame's ``smoothscale`` shrinks it to 96x96
(pygame-ce 2.5.8 ``transform.c`` and ``simd_transform_sse2.c``; every x86-64 build takes the
SSE2 path).  The filter moves along a line with a 14-bit fixed-point counter.  Its positions
and weights do not depend on the pixels, so this module computes them once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

WIDTH = 1000
HEIGHT = 800
SIDE = 96
ROAD_ROWS = 700  # the panel covers the rows from this one on
ONE = 0x4000  # "one pixel" of the shrink filter's counter


class ShrinkAxis:
    """The filter's positions and weights along one axis, from ``source`` to ``SIDE`` pixels.

    The filter writes output j at the source pixel ``last[j]``.  This pixel has the weight
    ``weight_last[j]`` in output j and the rest, ``weight_prev[j + 1]``, in output j + 1.
    All pixels between ``last[j-1]`` and ``last[j]`` have full weight.  A cell is the run of
    source pixels ``start[j] .. last[j]``.  Its output also uses the last pixel of the cell
    before it.
    """

    def __init__(self, source: int) -> None:
        space = ONE * source // SIDE
        self.recip = 0x40000000 // space
        self.last: IntArray = np.zeros(SIDE, np.int64)
        self.weight_last: IntArray = np.zeros(SIDE, np.int64)
        self.weight_prev: IntArray = np.zeros(SIDE + 1, np.int64)
        counter, j = space, 0
        for pixel in range(source):
            if counter > ONE:
                counter -= ONE
                continue
            self.last[j] = pixel
            self.weight_last[j] = counter
            self.weight_prev[j + 1] = ONE - counter
            counter = space - (ONE - counter)
            j += 1
        assert j == SIDE
        assert self.last[-1] == source - 1
        self.weight_prev = self.weight_prev[:SIDE].copy()
        # If a weight gives 0 even for the brightest pixel, that pixel has no effect.  A zero
        # here removes the dependency on the cell before it (row 84 on row 699).
        self.weight_prev[(255 * self.weight_prev) >> 14 == 0] = 0
        self.start: IntArray = np.concatenate(([0], self.last[:-1] + 1)).astype(np.int64)
        self.full: IntArray = self.last - self.start  # pixels of full weight
        self.cell: IntArray = np.repeat(np.arange(SIDE, dtype=np.int64), self.last - self.start + 1)
        # first cell that starts at or after x, and last cell that ends at or before x
        at = np.arange(source)
        self.first_from: IntArray = self.cell + (self.start[self.cell] != at)
        self.last_until: IntArray = self.cell - (self.last[self.cell] != at)


AXIS_X = ShrinkAxis(WIDTH)
AXIS_Y = ShrinkAxis(HEIGHT)
# the panel must begin at the start of a cell; otherwise its pixels would contain a road row
PANEL_CELL = int(AXIS_Y.cell[ROAD_ROWS])
assert AXIS_Y.start[PANEL_CELL] == ROAD_ROWS
assert AXIS_Y.weight_prev[PANEL_CELL] == 0
