"""A scripted policy for benchmarks and tests. It reads the simulator's state, so no training data come from it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class RoadFollower:
    """Steers towards the tile `ahead` tiles away and brakes before curves; `speed` in units/s."""

    def __init__(self, speed: float = 45.0, ahead: int = 6) -> None:
        self.speed = speed
        self.ahead = ahead

    def __call__(self, env: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        env = env.unwrapped
        hull = env.car.hull
        x, y = hull.position
        track = np.asarray(env.track)
        near = int(np.argmin((track[:, 2] - x) ** 2 + (track[:, 3] - y) ** 2))
        target = track[(near + self.ahead) % len(track)]
        bearing = math.atan2(target[3] - y, target[2] - x) - math.pi / 2
        off = (bearing - hull.angle + math.pi) % (2 * math.pi) - math.pi
        vx, vy = hull.linearVelocity
        speed = math.hypot(vx, vy)
        wanted = self.speed * max(0.35, 1.0 - 1.3 * abs(off))
        gas = min(max((wanted - speed) * 0.05, 0.0), 1.0)
        brake = min(max((speed - wanted - 5.0) * 0.02, 0.0), 0.5)
        return np.array([max(min(-1.6 * off, 1.0), -1.0), gas, brake], np.float32)
