"""The pace of a page's steps."""

from __future__ import annotations

import time
from collections import deque

# The rate is measured over so many steps.
_STEPS = 50
# Who fell behind by more seconds than this does not hurry to catch up.
_MAX_LAG = 0.1


class Clock:
    """Says when the next step is due.

    Attributes:
        paused: whether steps wait to be asked for.
    """

    def __init__(self) -> None:
        self._speed, self.paused = 50.0, False
        self._once = False
        self._due = time.monotonic()
        self._times: deque[float] = deque(maxlen=_STEPS + 1)

    @property
    def speed(self) -> float:
        """Steps a second."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._speed = speed
        self._due = min(self._due, time.monotonic() + 1 / speed)

    def go_on(self) -> None:
        """Ends a pause."""
        self.paused = self._once = False
        self._due = time.monotonic()
        self._times.clear()

    def once(self) -> None:
        """Lets one step through, and pauses."""
        self.paused = self._once = True

    def seconds_left(self) -> float | None:
        """Until the next step; None in a pause."""
        if self.paused:
            return 0.0 if self._once else None
        return max(0.0, self._due - time.monotonic())

    def step(self) -> None:
        """Takes note of a step."""
        self._once = False
        now = time.monotonic()
        self._due = max(self._due + 1 / self.speed, now - _MAX_LAG)
        self._times.append(now)

    @property
    def rate(self) -> float:
        """Steps a second, measured; 0 before there are any."""
        if self.paused or len(self._times) < 2:
            return 0.0
        return (len(self._times) - 1) / max(self._times[-1] - self._times[0], 1e-9)
