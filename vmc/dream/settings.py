"""The settings of a dream. No torch: the command line and C's checkpoint use this."""

from __future__ import annotations

from dataclasses import dataclass

from vmc.errors import VmcError

# M is never sure: where a CarRacing drive is lost, M's probability exceeds 0.15 in most drives and 0.5 in few
# (docs/experiments/turning-round.md). The original's Doom has 1/11.
TERMINATION_THRESHOLD = 0.15


@dataclass(frozen=True)
class DreamSettings:
    """The settings of a dream; C's checkpoint keeps those that C was evolved with.

    Attributes:
        temperature: above 0; above 1 makes the dream more uncertain and harder to exploit.
        horizon: steps after which a dream is truncated.
        sample_termination: a dream terminates with M's probability; else where that exceeds `termination_threshold`.
        termination_threshold: a probability.

    Raises:
        VmcError: a value out of bounds.
    """

    temperature: float = 1.0
    horizon: int = 1000
    sample_termination: bool = False
    termination_threshold: float = TERMINATION_THRESHOLD

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise VmcError(f"The temperature is {self.temperature}; it must be above 0.")
        if self.horizon < 1:
            raise VmcError(f"The dream's horizon is {self.horizon}; it must be at least 1.")
