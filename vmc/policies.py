"""Policies that need no model: they make the first data set. (The trained agent is in `vmc.models.agent`.)"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vmc.envs.action_map import ActionMap
from vmc.episode import Decision, Frame

# Of the noise on C's outputs, in collected episodes and in dreams.
CORRELATION_STEPS = 10.0


class RandomPolicy:
    """Uniform actions from the action space, each held for 1 to 10 steps (as hardmaru's Doom `extract.py`)."""

    def __init__(self, action_map: ActionMap) -> None:
        self._action_map = action_map

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._steps_left = 0

    def act(self, frame: Frame) -> Decision:
        if self._steps_left == 0:
            self._steps_left = int(self._rng.integers(1, 11))
            self._action = self._action_map.sample(self._rng)
        self._steps_left -= 1
        return Decision(self._action)


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


class ActionNoise:
    """Noise on C's outputs while it collects episodes.

    C's actions follow from what it sees, so M could not learn from them alone what an action does. Each episode draws
    the standard deviation of its correlated noise from U(0, `largest`), and from U(0, 1/50) the rate of bursts: 5 to 30
    steps of one random output, after which C has to recover.
    """

    def __init__(self, size: int, largest: float) -> None:
        self._size = size
        self._largest = largest
        self._process = OrnsteinUhlenbeck(size, CORRELATION_STEPS)

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._scale, self._burst_rate = rng.uniform(0, self._largest), rng.uniform(0, 0.02)
        self._steps_left = 0
        self._process.reset(rng)

    def __call__(self, outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """C's outputs (A,) to those that are applied."""
        if self._steps_left == 0 and self._rng.random() < self._burst_rate:
            self._steps_left = int(self._rng.integers(5, 31))
            self._held = self._rng.standard_normal(self._size).astype(np.float32)
        noise = self._process.step()
        if self._steps_left:
            self._steps_left -= 1
            return self._held
        noisy: npt.NDArray[np.float32] = outputs + np.float32(self._scale) * noise.astype(np.float32)
        return noisy


class BrownianPolicy:
    """Correlated actions: an Ornstein-Uhlenbeck process in C's output space, through C's own action_map.

    It lives in the same space as a controller's outputs, so the car gets the mixture of gas and brake that a random
    controller would give it, and unlike a clipped random walk it does not stick to the action space's borders.
    """

    def __init__(self, action_map: ActionMap, correlation_steps: float = 20.0) -> None:
        self._action_map = action_map
        self._noise = OrnsteinUhlenbeck(action_map.size, correlation_steps)

    def reset(self, rng: np.random.Generator) -> None:
        self._noise.reset(rng)

    def act(self, frame: Frame) -> Decision:
        return Decision(self._action_map(self._noise.step()))


POLICIES = {"random": RandomPolicy, "brownian": BrownianPolicy}
