"""Constant tables of the picture's geometry: which source pixels make which output pixel.

The official picture is drawn at 1000x800 and shrunk to 96x96 by pygame's ``smoothscale``
(pygame-ce 2.5.8 ``transform.c`` and ``simd_transform_sse2.c``, the SSE2 path, which is the
one every x86-64 build takes).  That filter walks along a line with a 14-bit fixed-point
counter; the walk does not depend on the pixels, so all its positions and weights are
constants and are worked out once here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]

WIDTH = 1000
HEIGHT = 800
SIDE = 96
ROAD_ROWS = 700  # rows below this one are hidden under the panel
ONE = 0x4000  # "one pixel" of the shrink filter's counter


class ShrinkAxis:
    """The filter's walk along one axis, for ``source`` pixels to ``SIDE`` pixels.

    ``last[j]`` is the source pixel at which output j is written; it counts with
    ``weight_last[j]``, and the rest of it (``weight_prev[j + 1]``) goes to output j+1.
    All pixels between ``last[j-1]`` and ``last[j]`` count fully.  A "cell" is the run of
    source pixels ``start[j] .. last[j]``: it owns its last pixel and borrows the one
    before its start from its neighbour.
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
        # A borrowed pixel too light to reach 1 even at full brightness never counts:
        # zeroing it here cuts the dependency on the neighbour cell (row 84 on row 699).
        self.weight_prev[(255 * self.weight_prev) >> 14 == 0] = 0
        self.start: IntArray = np.concatenate(([0], self.last[:-1] + 1)).astype(np.int64)
        self.full: IntArray = self.last - self.start  # pixels that count fully
        self.cell: IntArray = np.repeat(np.arange(SIDE, dtype=np.int64), self.last - self.start + 1)
        # first cell that starts at or after x / last cell that ends at or before x
        at = np.arange(source)
        self.first_from: IntArray = self.cell + (self.start[self.cell] != at)
        self.last_until: IntArray = self.cell - (self.last[self.cell] != at)


AXIS_X = ShrinkAxis(WIDTH)
AXIS_Y = ShrinkAxis(HEIGHT)
# the panel must begin exactly at a cell's start, or a road row would mix into its pixels
PANEL_CELL = int(AXIS_Y.cell[ROAD_ROWS])
assert AXIS_Y.start[PANEL_CELL] == ROAD_ROWS
assert AXIS_Y.weight_prev[PANEL_CELL] == 0
