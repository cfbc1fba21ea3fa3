"""Returns of dreams, true and shaped."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SoftCap:
    """A soft cap on the reward of a window: reward beyond it is worth `slope` of itself.

    A lap ends and a dream does not. Without a cap a dream would pay for speed on the straights what it costs in the
    bends: missed tiles and lost drives.

    Attributes:
        reward: the cap, in reward a step, averaged over a window; above 0.
        window: steps of a window; on CarRacing a bend takes about 20.
        slope: from 0 (a hard cap) to 1 (no cap).
    """

    reward: float
    window: int = 20
    slope: float = 0.1


class ReturnAccumulator:
    """Sums of the rewards of dreams, in tensors that stay where they are (a CUDA graph writes to them).

    The shaped return is sum over windows of min(w, cap) + slope * max(w - cap, 0), where w is a window's reward and
    cap is `soft_cap.reward * soft_cap.window`. Without a soft cap it equals the return.

    Args:
        num_dreams: N.

    Attributes:
        returns, shaped_returns: (N,), complete after `finish`.
    """

    def __init__(self, num_dreams: int, device: torch.device, soft_cap: SoftCap | None) -> None:
        self._soft_cap = soft_cap or SoftCap(torch.inf)
        self._steps = 0
        self.returns = torch.zeros(num_dreams, device=device)
        self.shaped_returns = torch.zeros(num_dreams, device=device)
        self._window = torch.zeros(num_dreams, device=device)

    def add(self, rewards: Tensor, rows: Tensor) -> None:
        """Adds a step's rewards (B,) to the dreams in these rows (B,)."""
        self._window.index_add_(0, rows, rewards)

    def end_step(self) -> None:
        """Counts a step of all dreams; call it after `add`. Closes the window when it is full."""
        self._steps += 1
        if self._steps % self._soft_cap.window == 0:
            self.finish()

    def finish(self) -> None:
        """Adds the open window to the sums."""
        cap, window = self._soft_cap.reward * self._soft_cap.window, self._window
        self.returns.add_(window)
        self.shaped_returns.add_(window.clamp(max=cap)).add_((window - cap).clamp(min=0), alpha=self._soft_cap.slope)
        window.zero_()

    def restart(self, soft_cap: SoftCap | None) -> None:
        """Sets all sums to zero."""
        self._soft_cap, self._steps = soft_cap or SoftCap(torch.inf), 0
        for sums in (self.returns, self.shaped_returns, self._window):
            sums.zero_()
