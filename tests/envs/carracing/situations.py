"""Situations in which both environments run side by side and every result is compared."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.envs.box2d.car_racing import PLAYFIELD, CarRacing

from vmc.bench.road_follower import RoadFollower
from vmc.envs.carracing.env import FastCarRacing

Rng = np.random.Generator


class Pair:
    """The official and the fast environment. It compares every result for equality."""

    def __init__(self, **options: Any) -> None:
        self.envs: tuple[Any, Any] = (CarRacing(**options), FastCarRacing(**options))
        self.frames = 0
        self.mismatches: list[str] = []

    def _compare(self, label: str, a: Any, b: Any) -> None:
        self.frames += 1
        if a[0].shape != b[0].shape or a[0].dtype != b[0].dtype or not np.array_equal(a[0], b[0]):
            self.mismatches.append(f"{label}: picture, {int((a[0] != b[0]).any(-1).sum())} pixels")
        if a[1:] != b[1:] or [type(x) for x in a[1:]] != [type(x) for x in b[1:]]:
            self.mismatches.append(f"{label}: {a[1:]} / {b[1:]}")

    def reset(self, **options: Any) -> None:
        a, b = (env.reset(**options) for env in self.envs)
        self._compare(f"reset {options}", a, b)
        states = [env.np_random.bit_generator.state for env in self.envs]
        if states[0] != states[1]:
            self.mismatches.append(f"reset {options}: random state")

    def step(self, action: Any) -> bool:
        a, b = (env.step(action) for env in self.envs)
        self._compare(f"frame {self.frames}, action {action}", a, b)
        return bool(a[2])


def random_action(rng: Rng) -> Any:
    return np.array(
        [rng.uniform(-1, 1), rng.uniform(0, 1), rng.uniform(0, 1) * (rng.random() < 0.25)],
        np.float32,
    )


def drive(pair: Pair, rng: Rng, frames: int) -> None:
    """Follow the road at different speeds over several laps, and a few frames past each end."""
    follower = RoadFollower(speed=float(rng.uniform(25, 70)))
    pair.reset(seed=int(rng.integers(2**31)))
    past = 0
    for _ in range(frames):
        past += pair.step(follower(pair.envs[0]))
        if past > 3:
            past = 0
            pair.reset()


def wander(pair: Pair, rng: Rng, frames: int) -> None:
    """Repeat random actions for random times, which gives spins, grass and skids; reset often."""
    pair.reset(seed=int(rng.integers(2**31)))
    action = random_action(rng)
    for n in range(frames):
        if rng.random() < 0.12:
            action = random_action(rng)
        pair.step(action)
        if n % 150 == 149:
            pair.reset(**({"seed": int(rng.integers(2**31))} if rng.random() < 0.5 else {}))


def leave(pair: Pair, rng: Rng, frames: int) -> None:
    """Move the car near the edge of the field and drive over it, also after the episode's end."""
    pair.reset(seed=int(rng.integers(2**31)))
    for n in range(frames):
        if n % 40 == 0:
            side, along = rng.choice([-1, 1]), rng.uniform(-1.05, 1.05)
            x, y = (side, along) if rng.random() < 0.5 else (along, side)
            place = PLAYFIELD * float(x), PLAYFIELD * float(y)
            teleport(pair, place, float(rng.uniform(-7, 7)), float(rng.uniform(0, 80)))
        pair.step(np.array([rng.uniform(-0.3, 0.3), 1.0, 0.0], np.float32))


def teleport(pair: Pair, place: tuple[float, float], angle: float, speed: float) -> None:
    """Move all bodies of the car to a place, with this heading and forward speed."""

    for env in pair.envs:
        hull = env.car.hull
        turn = angle - hull.angle
        c, s = math.cos(turn), math.sin(turn)
        x0, y0 = hull.position
        for body in (hull, *env.car.wheels):
            dx, dy = body.position[0] - x0, body.position[1] - y0
            body.position = (place[0] + c * dx - s * dy, place[1] + s * dx + c * dy)
            body.angle = body.angle + turn
            body.linearVelocity = (-math.sin(angle) * speed, math.cos(angle) * speed)


def jump(pair: Pair, rng: Rng, frames: int) -> None:
    """Set a random place, heading (right angles too), zoom, spin, wheel speed and score."""
    pair.reset(seed=int(rng.integers(2**31)))
    for n in range(frames):
        track = pair.envs[0].track
        tile = track[int(rng.integers(len(track)))]
        spread = float(rng.choice([2.0, 15.0, 60.0]))
        place = tile[2] + float(rng.normal()) * spread, tile[3] + float(rng.normal()) * spread
        angle = float(rng.uniform(-20, 20))
        if rng.random() < 0.4:  # within 1e-6, pygame treats right angles exactly
            angle = float(rng.integers(-9, 10)) * math.pi / 2 + float(rng.normal()) * 1e-6
        teleport(pair, place, angle, float(rng.uniform(-100, 100)))
        time = float(rng.uniform(0, 1.2)) if rng.random() < 0.5 else None
        spin = float(rng.normal()) * float(rng.choice([1.0, 30.0]))
        omegas = [float(rng.normal()) * float(rng.choice([1e-4, 50.0, 500.0])) for _ in range(4)]
        score = float(rng.choice([rng.uniform(-200, 1000), rng.uniform(-2000, 20000), 0.0, -0.4]))

        for env in pair.envs:
            env.reward = env.prev_reward = score
            env.t = env.t if time is None else time
            env.car.hull.angularVelocity = spin
            for wheel, omega in zip(env.car.wheels, omegas, strict=True):
                wheel.omega = omega
        pair.step(random_action(rng))
        if n % 100 == 99:
            pair.reset()


def tracks(pair: Pair, rng: Rng, frames: int) -> None:
    """Make new tracks; the zoom at the start shows the whole field."""
    while frames > 0:
        pair.reset(seed=int(rng.integers(2**31)))
        count = int(rng.choice([3, 12, 55]))
        for _ in range(count):
            pair.step(random_action(rng))
        frames -= count + 1


def stand(pair: Pair, rng: Rng, frames: int) -> None:
    """Do nothing, until scores have three digits below zero."""
    pair.reset(seed=int(rng.integers(2**31)))
    for _ in range(frames):
        pair.step(np.zeros(3, np.float32))


def colours(pair: Pair, rng: Rng, frames: int) -> None:
    """Reset with every option of ``domain_randomize``."""
    pair.reset(seed=int(rng.integers(2**31)))
    follower = RoadFollower()
    for n in range(frames):
        pair.step(follower(pair.envs[0]) if n % 80 < 60 else random_action(rng))
        if n % 80 == 79:
            options: list[Any] = [None, {}, {"randomize": True}, {"randomize": False}]
            pair.reset(options=options[int(rng.integers(4))])


def buttons(pair: Pair, rng: Rng, frames: int) -> None:
    """Use the discrete actions."""
    pair.reset(seed=int(rng.integers(2**31)))
    action = 3
    for n in range(frames):
        if rng.random() < 0.2:
            action = int(rng.choice([0, 1, 2, 3, 3, 3, 4]))
        pair.step(action if n % 2 else np.int64(action))
        if n % 200 == 199:
            pair.reset()


Run = Callable[[Pair, Rng, int], None]
SITUATIONS: dict[str, tuple[Run, dict[str, Any]]] = {
    "drive": (drive, {}),
    "short lap": (drive, {"lap_complete_percent": 0.2}),
    "wander": (wander, {}),
    "leave": (leave, {}),
    "jump": (jump, {}),
    "tracks": (tracks, {}),
    "stand": (stand, {}),
    "colours": (colours, {"domain_randomize": True}),
    "colours jump": (jump, {"domain_randomize": True}),
    "buttons": (buttons, {"continuous": False}),
}


def run(name: str, seed: int, frames: int) -> tuple[int, list[str]]:
    """Run one situation; return the number of compared frames and the mismatches."""
    play, options = SITUATIONS[name]
    pair = Pair(**options)
    play(pair, np.random.default_rng(seed), frames)
    return pair.frames, pair.mismatches
