"""Batches of whole latent episodes for M, padded and masked, with z drawn anew."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.models.vae import sample_latent
from vmc.storage.checkpoint import Checkpoint
from vmc.storage.latents import Latents


@dataclass(frozen=True)
class SequenceBatch:
    """B episodes side by side from their first step, padded to the longest, T steps.

    Attributes:
        latents: (B, T + 1, Z), one z a frame.
        actions: (B, T, A).
        rewards: (B, T); `rewards[:, t]` is earned by `actions[:, t]`.
        terminations: (B, T), 1 at steps where a dream shall end (`Latents.termination_labels`), else 0.
        mask: (B, T), 1 at real steps, 0 at padding.
    """

    latents: Tensor
    actions: Tensor
    rewards: Tensor
    terminations: Tensor
    mask: Tensor


class LatentSequences:
    """The latents of a data set on a device, from which batches of episodes are cut.

    Args:
        sample_latents: whether z is drawn from V's posterior in every batch, or is its mean.
        no_reward_limit: a stretch of so many steps without a positive reward counts as termination.

    Attributes:
        active: the numbers of the latent dimensions that hold something, (D,): M is judged by these.
        silent: those of the others.
    """

    def __init__(
        self, latents: Latents, sample_latents: bool, device: torch.device, no_reward_limit: int | None = None
    ) -> None:
        self.lengths = latents.lengths
        self._frames, self._steps = latents.first_frames(), latents.first_steps()
        self._over = torch.from_numpy(latents.termination_labels(no_reward_limit)).to(device)
        self._sample = sample_latents
        self.active, self.silent = (
            torch.from_numpy(np.flatnonzero(chosen)).to(device) for chosen in (latents.active(), ~latents.active())
        )
        names = ("means", "log_variances", "actions", "rewards")
        self._means, self._log_variances, self._actions, self._rewards = (
            torch.from_numpy(getattr(latents, name)).to(device) for name in names
        )

    def batch(self, episodes: npt.NDArray[np.int64], generator: torch.Generator) -> SequenceBatch:
        """The batch of these episodes (positions in the data set)."""
        lengths = torch.from_numpy(self.lengths[episodes]).to(self._means.device)
        times = torch.arange(int(lengths.max()) + 1, device=self._means.device)
        # Padding repeats each episode's last frame and last step; the mask keeps it out of every figure.
        frames = torch.minimum(times, lengths[:, None]) + self._column(self._frames[episodes])
        steps = torch.minimum(times[:-1], lengths[:, None] - 1) + self._column(self._steps[episodes])
        mask = times[:-1] < lengths[:, None]
        terminations = self._over[steps] & mask
        latents = self._draw(self._means[frames], self._log_variances[frames], generator)
        return SequenceBatch(latents, self._actions[steps], self._rewards[steps], terminations.float(), mask.float())

    def _draw(self, mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
        if not self._sample:
            return mean
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return sample_latent(mean, log_variance, noise)

    def _column(self, values: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self._means.device)[:, None]


def sequences_of(dynamics: Checkpoint, latents: Latents, device: torch.device) -> LatentSequences:
    """The latents as this M was trained on them."""
    info = dynamics.info
    return LatentSequences(latents, info["sample_latents"], device, info.get("no_reward_limit"))
