"""Policies that need no model: they make the first data set. (The trained agent is in `vmc.models.agent`.)"""

from __future__ import annotations

import numpy as np

from vmc.envs.squash import Squash
from vmc.episode import Action, Frame


class RandomPolicy:
    """Uniform actions from the action space, each held for 1 to 10 steps (as hardmaru's Doom `extract.py`)."""

    def __init__(self, squash: Squash) -> None:
        self._squash = squash

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._steps_left = 0

    def act(self, frame: Frame) -> Action:
        if self._steps_left == 0:
            self._steps_left = int(self._rng.integers(1, 11))
            self._action = self._squash.sample(self._rng)
        self._steps_left -= 1
        return self._action


class OrnsteinUhlenbeck:
    """Correlated Gaussian noise with unit stationary variance and a correlation time in steps.

    x_{t+1} = k x_t + sqrt(1 - k^2) n_t with k = exp(-1 / correlation_steps), started in its stationary law.
    """

    def __init__(self, size: int, correlation_steps: float) -> None:
        self._size = size
        self._keep = float(np.exp(-1.0 / correlation_steps))

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._x = rng.standard_normal(self._size)

    def step(self) -> np.ndarray:
        """The present value, (size,); the process then moves on."""
        x = self._x
        noise = self._rng.standard_normal(self._size)
        self._x = self._keep * x + np.sqrt(1 - self._keep**2) * noise
        return x


class BrownianPolicy:
    """Correlated actions: an Ornstein-Uhlenbeck process in C's output space, through C's own squash.

    It lives in the same space as a controller's outputs, so the car gets the mixture of gas and brake that a random
    controller would give it, and unlike a clipped random walk it does not stick to the action space's borders.
    """

    def __init__(self, squash: Squash, correlation_steps: float = 20.0) -> None:
        self._squash = squash
        self._noise = OrnsteinUhlenbeck(squash.size, correlation_steps)

    def reset(self, rng: np.random.Generator) -> None:
        self._noise.reset(rng)

    def act(self, frame: Frame) -> Action:
        return self._squash(self._noise.step())


POLICIES = {"random": RandomPolicy, "brownian": BrownianPolicy}
