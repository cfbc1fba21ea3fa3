"""Checks that the fast environment equals the official one on this machine.

Another pygame, gymnasium or CPU path (see ``tables``) or a stale numba cache can change
pixels.  The check takes a second at start-up.
"""

from __future__ import annotations

import numpy as np

from vmc.envs.carracing.env import FastCarRacing
from vmc.envs.carracing.official import car_racing

SEED = 20_240_817


def warm_up() -> None:
    """Compile the kernels, or load them from numba's cache, by drawing one frame.

    Call it once before worker processes start, so that they only read the cache.
    """
    FastCarRacing().reset(seed=SEED)


def matches_official(frames: int = 60) -> bool:
    """Returns whether both environments agree in every pixel and number over ``frames`` steps.

    Half of the frames show the zoom at the start.  Then the car spins onto the grass.
    """
    for options in ({}, {"domain_randomize": True}):
        pair = car_racing.CarRacing(**options), FastCarRacing(**options)
        starts = [env.reset(seed=SEED) for env in pair]
        if not np.array_equal(starts[0][0], starts[1][0]):
            return False
        rng = np.random.default_rng(SEED)
        for n in range(frames // 2):
            if n % 10 == 0:
                action = rng.uniform((-1, 0.3, 0), (1, 1, 0.3)).astype(np.float32)
            if n == frames // 4:
                for env in pair:
                    env.t = 2.0  # skip the rest of the zoom
            official, fast = (env.step(action) for env in pair)
            if not np.array_equal(official[0], fast[0]) or official[1:] != fast[1:]:
                return False
    return True
