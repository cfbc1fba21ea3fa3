"""``CarRacing-v3`` with the same numbers and pixels, many times faster.

This module replaces the drawing of observations, the car's arithmetic (``car``) and the
code between them.  It keeps the physics, track generation, rewards and random numbers of
gymnasium 1.4.0 (``envs/box2d/car_racing.py``), and its ``render`` in the modes "human" and
"rgb_array".

It does not reproduce coordinates beyond SDL's 16 and 32 bits.  They occur only about 1600
units outside the field (an episode ends at 333).
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Env
from gymnasium.error import InvalidAction
from pygame.math import Vector2

from vmc.envs.carracing.blocks import new_store
from vmc.envs.carracing.car import FastCar
from vmc.envs.carracing.kernels import compiling
from vmc.envs.carracing.official import box2d, car_racing
from vmc.envs.carracing.panel import score_text
from vmc.envs.carracing.scene import BODY_NUMBERS, MAX_COLOURS, VIEW_NUMBERS, draw_frame
from vmc.envs.carracing.tables import HEIGHT, SIDE, WIDTH

Floats = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
StepResult = tuple[Picture, float, bool, bool, dict[str, Any]]

ZOOM_START, ZOOM_END = 0.1 * car_racing.SCALE, car_racing.ZOOM * car_racing.SCALE
RIGHT = Vector2(1.0, 0.0)
pack_numbers = struct.Struct(f"{VIEW_NUMBERS + 5 * BODY_NUMBERS}d").pack_into
world_vector = box2d.b2Body_GetWorldVector
position_of = box2d.b2Body___GetPosition
x_of, y_of = box2d.b2Vec2_x_get, box2d.b2Vec2_y_get
FPS: int = car_racing.FPS
PLAYFIELD: float = car_racing.PLAYFIELD


def centres(polygons: Floats) -> Floats:
    """(x, y, radius) of a circle around each polygon, to skip polygons that are out of view."""
    middle = polygons.mean(axis=1)
    reach = np.sqrt(((polygons - middle[:, None]) ** 2).sum(axis=2).max(axis=1))
    return np.ascontiguousarray(np.column_stack((middle, reach + 1e-6)))


def grass_squares() -> Floats:
    """The vertices of the grass squares, (N, 4, 2), with the original's arithmetic."""
    d = car_racing.GRASS_DIM
    return np.array(
        [
            [
                (d * x + d, d * y + 0),
                (d * x + 0, d * y + 0),
                (d * x + 0, d * y + d),
                (d * x + d, d * y + d),
            ]
            for x in range(-20, 20, 2)
            for y in range(-20, 20, 2)
        ]
    )


class FastCarRacing(car_racing.CarRacing):  # type: ignore[misc]
    """Replaces ``CarRacing``: every observation, reward and flag is bit-identical.

    The only visible difference is that an observation is C-contiguous.  The original
    returns a transposed view of the same values.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        store, state = new_store()
        self._frame = (
            store,
            state,
            np.zeros(MAX_COLOURS, np.int64),  # palette
            np.zeros(1, np.int64),  # palette entries in use
            np.zeros((MAX_COLOURS, SIDE, SIDE), np.int64),  # one-colour pictures
            np.zeros(HEIGHT, np.int64),  # spans: left ends
            np.zeros(HEIGHT, np.int64),  # spans: right ends
            np.zeros((3, 8), np.int64),  # a polygon's x, y and crossings
            np.zeros((4, 2), np.float32),  # a wheel's stripe
        )
        self._numbers = np.zeros(VIEW_NUMBERS + 5 * BODY_NUMBERS)
        self._ground = np.zeros(6)
        grass = grass_squares()
        self._grass = (grass, centres(grass))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Picture, dict[str, Any]]:
        """Reset as the original does, with the faster car."""
        Env.reset(self, seed=seed)
        self._destroy()
        listener = car_racing.FrictionDetector(self, self.lap_complete_percent)
        self.world.contactListener_bug_workaround = listener
        self.world.contactListener = listener
        self.reward = 0.0
        self.prev_reward = 0.0
        self.tile_visited_count = 0
        self.t = 0.0
        self.new_lap = False
        self.road_poly: list[Any] = []
        if self.domain_randomize:
            randomize = True
            if isinstance(options, dict) and "randomize" in options:
                randomize = options["randomize"]
            self._reinit_colors(randomize)
        while not self._create_track():
            if self.verbose:
                print("retry to generate track (normal if there are not manyinstances of this message)")
        self._take_track()
        self.car = FastCar(self.world, *self.track[0][1:4])
        self._take_car()
        if self.render_mode == "human":
            self.render()
        return self.step(None)[0], {}

    def _take_track(self) -> None:
        """Store the road as arrays; the tiles' colours become views of the colour array.

        The contact listener writes a tile's colour in place, so it writes to the array.
        """
        road = np.array([points for points, _ in self.road_poly])
        colours = np.array([colour for _, colour in self.road_poly], np.float64)
        tiles = iter(self.road)
        for n, (points, colour) in enumerate(self.road_poly):
            if isinstance(colour, np.ndarray):  # a tile's colour; border colours are tuples
                next(tiles).color = colours[n]
                self.road_poly[n] = (points, colours[n])
        self._road = (road, centres(road), colours)

    def _take_car(self) -> None:
        """Store the car's shapes as arrays (float32, as in Box2D)."""
        car = self.car
        wheel = np.array(car.wheels[0].fixtures[0].shape.vertices, np.float32)
        shapes = [f.shape.vertices for f in car.hull.fixtures]
        hull = np.zeros((len(shapes), 8, 2), np.float32)
        for n, shape in enumerate(shapes):
            hull[n, : len(shape)] = shape
        sizes = np.array([len(s) for s in shapes], np.int64)
        colour = np.array([int(c * 255) for c in car.hull.color], np.int64)
        self._shapes = (wheel, hull, sizes, colour)

    def step(self, action: Any) -> StepResult:
        """Step as the original does."""
        car = self.car
        assert car is not None
        if action is not None:
            self._control(action)
        car.step(1.0 / FPS)
        self.world.Step(1.0 / FPS, 6 * 30, 2 * 30)
        self.t += 1.0 / FPS
        self.state = self._observe()

        step_reward: float = 0
        terminated = False
        info: dict[str, Any] = {}
        if action is not None:  # None in the step that ``reset`` makes
            self.reward -= 0.1
            car.fuel_spent = 0.0
            step_reward = self.reward - self.prev_reward
            self.prev_reward = self.reward
            if self.tile_visited_count == len(self.track) or self.new_lap:
                terminated = True
                info["lap_finished"] = True
            place = position_of(car.hull)
            if abs(x_of(place)) > PLAYFIELD or abs(y_of(place)) > PLAYFIELD:
                terminated = True
                info["lap_finished"] = False
                step_reward = -100
        if self.render_mode == "human":
            self.render()
        return self.state, step_reward, terminated, False, info

    def _control(self, action: Any) -> None:
        """Apply an action to the car's controls."""
        car = self.car
        if self.continuous:
            values = action.astype(np.float64).tolist()
            car.steer(-values[0])
            car.gas(values[1])
            car.brake(values[2])
            return
        if not self.action_space.contains(action):
            raise InvalidAction(
                f"you passed the invalid action `{action}`. The supported action_space is `{self.action_space}`"
            )
        car.steer(-0.6 * (action == 1) + 0.6 * (action == 2))
        car.gas(0.2 * (action == 3))
        car.brake(0.8 * (action == 4))

    def _render(self, mode: str) -> Any:
        if mode == "state_pixels" and "t" in self.__dict__:
            return self._observe()
        return super()._render(mode)

    def _observe(self) -> Picture:
        """``_render("state_pixels")``: collect the numbers and draw the observation."""
        if not self._gather():
            return self._observe_slowly()
        self._ground[:3], self._ground[3:] = self.bg_color, self.grass_color
        text, x, y = score_text(f"{self.reward:04.0f}")
        out = np.empty((SIDE, SIDE, 3), np.uint8)
        with compiling():
            draw_frame(
                out, *self._frame, self._numbers, self._ground,
                *self._grass, *self._road, *self._shapes, text, x, y,
            )  # fmt: skip
        if self._frame[3][0] == MAX_COLOURS:
            return self._observe_slowly()
        return out

    def _observe_slowly(self) -> Picture:
        """Draw with the original's code, for two states that the game itself never reaches.

        They are a road that a caller painted in dozens of colours, and a car whose position
        is not finite (the original then raises an error).
        """
        return np.ascontiguousarray(super()._render("state_pixels"))

    def _gather(self) -> bool:
        """Write view, panel values and bodies to one array (see ``scene``); False if not finite."""
        car = self.car
        hull = car.hull
        angle = -hull.angle
        t = self.t
        zoom = ZOOM_START * max(1 - t, 0) + ZOOM_END * min(t, 1)
        place = position_of(hull)
        scroll = Vector2(-x_of(place) * zoom, -y_of(place) * zoom).rotate_rad(angle)
        # pygame rotates the unit vector, because its rotation has special cases
        cos, sin = RIGHT.rotate_rad(angle)
        speed = hull.linearVelocity
        wheels = car.wheels
        numbers = [
            cos, sin, zoom, WIDTH / 2 + scroll.x, HEIGHT / 4 + scroll.y,
            speed.x, speed.y, wheels[0].omega, wheels[1].omega, wheels[2].omega,
            wheels[3].omega, wheels[0].joint.angle, hull.angularVelocity,
        ]  # fmt: skip
        for w in wheels:
            place, turn, a = position_of(w), world_vector(w, (1.0, 0.0)), w.phase
            b = a + 1.2
            numbers += (
                x_of(place), y_of(place), x_of(turn), y_of(turn),
                math.sin(a), math.cos(a), math.sin(b), math.cos(b),
            )  # fmt: skip
        place, turn = position_of(hull), world_vector(hull, (1.0, 0.0))
        numbers += (x_of(place), y_of(place), x_of(turn), y_of(turn), 0.0, 0.0, 0.0, 0.0)
        pack_numbers(self._numbers.data, 0, *numbers)
        return math.isfinite(scroll.x + cos)
