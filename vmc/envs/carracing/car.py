"""gymnasium's car with the same arithmetic in plain Python floats.

Follows ``Car`` of gymnasium 1.4.0 (``envs/box2d/car_dynamics.py``).  numpy's functions on
single numbers take longer than the whole physics step.  On IEEE doubles, ``math.sqrt``,
products and comparisons give the same results as ``np.sqrt``, ``np.square``, ``np.sign``
and ``np.clip``.  The order of the operations is that of the original.
"""

from __future__ import annotations

import math
from typing import Any

from vmc.envs.carracing.official import box2d, car_dynamics

ENGINE_POWER: float = car_dynamics.ENGINE_POWER
WHEEL_MOMENT_OF_INERTIA: float = car_dynamics.WHEEL_MOMENT_OF_INERTIA
FRICTION_LIMIT: float = car_dynamics.FRICTION_LIMIT
STIFFNESS: float = 205000 * car_dynamics.SIZE * car_dynamics.SIZE
GRASS_LIMIT = FRICTION_LIMIT * 0.6
BRAKE_FORCE = 15
# SWIG's functions without their Python wrappers, for speed
world_vector = box2d.b2Body_GetWorldVector
velocity_of = box2d.b2Body___GetLinearVelocity
push = box2d.b2Body_ApplyForceToCenter
x_of, y_of = box2d.b2Vec2_x_get, box2d.b2Vec2_y_get


class FastCar(car_dynamics.Car):  # type: ignore[misc]
    """``Car`` with faster ``gas`` and ``step``; the other methods are inherited."""

    def gas(self, gas: float) -> None:
        """Set the gas of the rear wheels, clipped to 0..1; it rises by at most 0.1 per step."""
        gas = 0.0 if gas < 0 else 1.0 if gas > 1 else gas
        for w in self.wheels[2:4]:
            diff = gas - w.gas
            w.gas += 0.1 if diff > 0.1 else diff

    def step(self, dt: float) -> None:
        """Steer, turn the wheels and apply their forces; dt in seconds."""
        for w in self.wheels:
            angle = w.joint.angle
            turn = w.steer - angle
            way = 1.0 if turn > 0 else -1.0 if turn < 0 else turn
            w.joint.motorSpeed = way * min(50.0 * abs(turn), 3.0)

            grass = True
            limit = GRASS_LIMIT
            for tile in w.tiles:
                limit = max(limit, FRICTION_LIMIT * tile.road_friction)
                grass = False

            # The side vector is (cos, sin) of the rotation; the forward vector is exactly (-sin, cos).
            side = world_vector(w, (1.0, 0.0))
            side_x, side_y = x_of(side), y_of(side)
            forw_x, forw_y = -side_y, side_x
            v = velocity_of(w)
            vx, vy = x_of(v), y_of(v)
            vf = forw_x * vx + forw_y * vy
            vs = side_x * vx + side_y * vy

            omega = self._turn(w, dt)
            radius = w.wheel_rad
            f_force = (-vf + omega * radius) * STIFFNESS
            p_force = -vs * STIFFNESS
            force = math.sqrt(f_force * f_force + p_force * p_force)
            if force > 2.0 * limit:
                self._skid(w, grass)
            else:
                w.skid_start = None
                w.skid_particle = None
            if force > limit:
                f_force = f_force / force * limit
                p_force = p_force / force * limit
            w.omega = omega - dt * f_force * radius / WHEEL_MOMENT_OF_INERTIA
            push(
                w,
                (p_force * side_x + f_force * forw_x, p_force * side_y + f_force * forw_y),
                True,
            )

    def _turn(self, w: Any, dt: float) -> float:
        """Advance the wheel's phase; return its angular speed after engine and brake."""
        omega = w.omega
        power = dt * ENGINE_POWER * w.gas
        omega += power / WHEEL_MOMENT_OF_INERTIA / (abs(omega) + 5.0)
        self.fuel_spent += power
        brake = w.brake
        if brake >= 0.9:
            omega = 0.0
        elif brake > 0:
            value = min(BRAKE_FORCE * brake, abs(omega))
            omega += -value if omega > 0 else value if omega < 0 else 0.0
        w.phase += omega * dt
        return float(omega)

    def _skid(self, w: Any, grass: bool) -> None:
        """Extend or begin a skid trace; ``render`` shows it, observations do not."""
        mark = w.skid_particle
        if mark and mark.grass == grass and len(mark.poly) < 30:
            mark.poly.append((w.position[0], w.position[1]))
        elif w.skid_start is None:
            w.skid_start = w.position
        else:
            w.skid_particle = self._create_particle(w.skid_start, w.position, grass)
            w.skid_start = None
