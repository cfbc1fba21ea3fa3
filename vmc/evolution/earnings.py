"""What dreams earn, and what counts of it."""

from __future__ import annotations

import torch
from torch import Tensor

# Steps of a stretch: short enough that a bend is one, long enough to hold some of CarRacing's tiles, which pay at once.
STRETCH = 20
# What counts of a stretch's reward beyond the cap: about what haste is worth in CarRacing, where a lap of 900 steps
# brings 1,000 and each step sooner 0.1.
_EXCESS = 0.1


class Earnings:
    """Sums of the rewards of dreams, stretch by stretch of `STRETCH` steps, in tensors that stay where they are.

    A lap ends and a dream does not, so in a dream speed would pay for everything: for tiles left out and for dreams
    lost. Where a stretch is capped, speed elsewhere does not make good for what is lost in it.

    Args:
        num_dreams: N.
    """

    def __init__(self, num_dreams: int, device: torch.device) -> None:
        self.returns = torch.zeros(num_dreams, device=device)
        self.counted = torch.zeros(num_dreams, device=device)
        self._stretch = torch.zeros(num_dreams, device=device)

    def add(self, rewards: Tensor, rows: Tensor) -> None:
        """Rewards (B,) of a step, of the dreams in these rows (B,)."""
        self._stretch.index_add_(0, rows, rewards)

    def close_stretch(self, reward_cap: float | None) -> None:
        """Adds the open stretch to the sums: where `STRETCH` steps are over, and at the end.

        Args:
            reward_cap: what a stretch brings beyond so much a step, above 0, counts a tenth; None: all counts.
        """
        cap = torch.inf if reward_cap is None else reward_cap * STRETCH
        self.returns.add_(self._stretch)
        self.counted.add_(self._stretch.clamp(max=cap)).add_((self._stretch - cap).clamp(min=0), alpha=_EXCESS)
        self._stretch.zero_()

    def restart(self) -> None:
        """As at first."""
        for sums in (self.returns, self.counted, self._stretch):
            sums.zero_()
