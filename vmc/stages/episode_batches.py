"""Batches of whole latent episodes for M, padded and masked. Every batch draws its z again."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.models.dynamics.contract import SequenceBatch, SequenceStatistics
from vmc.models.vision.contract import sample_latent
from vmc.seeding import stream
from vmc.storage.checkpoint import Checkpoint
from vmc.storage.latents import Latents

# The largest gradient norm in a training of M.
GRADIENT_CLIP = 1.0
# Batches whose episodes are sorted by length among themselves: padding is 14% of CarRacing's steps, in all sorted 1%.
_SORTED_TOGETHER = 8


class LatentSequences:
    """The latents of a data set on a device, from which batches of episodes are cut.

    Args:
        sample_latents: whether z is drawn from V's posterior in every batch, or is its mean.
        no_reward_limit: of the termination labels.
    """

    def __init__(
        self, latents: Latents, sample_latents: bool, device: torch.device, no_reward_limit: int | None = None
    ) -> None:
        self.lengths = latents.lengths
        self._frames, self._steps = latents.first_frames(), latents.first_steps()
        self._labels = torch.from_numpy(latents.termination_labels(no_reward_limit)).to(device)
        self._sample = sample_latents
        names = ("means", "log_variances", "actions", "rewards")
        self._means, self._log_variances, self._actions, self._rewards = (
            torch.from_numpy(getattr(latents, name)).to(device) for name in names
        )

    def batch(self, episodes: npt.NDArray[np.int64], generator: torch.Generator) -> SequenceBatch:
        """The batch of these episodes (positions in the data set)."""
        lengths = torch.from_numpy(self.lengths[episodes]).to(self._means.device)
        times = torch.arange(int(lengths.max()) + 1, device=self._means.device)
        # Padding repeats each episode's last frame and last step; the mask keeps it out of every loss.
        frames = torch.minimum(times, lengths[:, None]) + self._column(self._frames[episodes])
        steps = torch.minimum(times[:-1], lengths[:, None] - 1) + self._column(self._steps[episodes])
        mask = times[:-1] < lengths[:, None]
        terminations = self._labels[steps] & mask
        latents = self._draw(self._means[frames], self._log_variances[frames], generator)
        return SequenceBatch(latents, self._actions[steps], self._rewards[steps], terminations.float(), mask.float())

    def _draw(self, mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
        if not self._sample:
            return mean
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return sample_latent(mean, log_variance, noise)

    def _column(self, values: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values).to(self._means.device)[:, None]


class EpisodeOrder:
    """The episodes of each batch.

    Args:
        latents: of the data set.
        batch_size: episodes side by side.
    """

    def __init__(self, latents: Latents, batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = latents.lengths, batch_size, seed
        self._training, self._validation = latents.training(), latents.validation()
        self.num_units = ceil(len(self._training) / batch_size)

    def units(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """The training episodes of an epoch's batches, in random order; those of a batch are about equally long.

        In a free order, two fifths of CarRacing's steps were padding, and few episodes reached a batch's last windows.
        """
        generator, size = stream(self._seed, "mdrnn/order", epoch), self._batch_size
        order = generator.permutation(self._training)
        groups = np.split(order, range(size * _SORTED_TOGETHER, len(order), size * _SORTED_TOGETHER))
        order = np.concatenate([self._sorted(group) for group in groups])
        units = np.split(order, range(size, len(order), size))
        return [units[position] for position in generator.permutation(len(units))]

    def validation(self) -> list[npt.NDArray[np.int64]]:
        """The validation episodes in batches, sorted by length."""
        episodes = self._sorted(self._validation)
        return np.array_split(episodes, ceil(len(episodes) / self._batch_size))

    def _sorted(self, episodes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return episodes[np.argsort(self._lengths[episodes], kind="stable")]


class Means:
    """Means of losses over batches, weighted by their real steps."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps = 0.0

    def add(self, losses: Mapping[str, Tensor], batch: SequenceBatch) -> None:
        """Adds the losses of a batch."""
        steps = batch.mask.sum().item()
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.item() * steps
        self._steps += steps

    def values(self) -> dict[str, float]:
        """The means so far."""
        return {name: total / self._steps for name, total in self._sums.items()}


def sequences_of(dynamics: Checkpoint, latents: Latents, device: torch.device) -> LatentSequences:
    """The latents as this M was trained on them."""
    info = dynamics.info
    return LatentSequences(latents, info["sample_latents"], device, info["no_reward_limit"])


def statistics_of(latents: Latents, latent_mask: npt.NDArray[np.bool_], limit: int | None) -> SequenceStatistics:
    """The facts about the training episodes that M needs.

    Args:
        latent_mask: V's; a dimension that never varies in these data is left out, too.
        limit: the no-reward limit of the termination labels.
    """
    is_training = np.zeros(len(latents.lengths), bool)
    is_training[latents.training()] = True
    steps = np.repeat(is_training, latents.lengths)
    labels = latents.termination_labels(limit)[steps]
    # A data set without a termination counts as if it had one.
    rate = float(max(labels.sum(), 1) / len(labels))
    mask = latent_mask & (np.ptp(latents.means, axis=0) > 0)
    return SequenceStatistics(_reward_scale(np.asarray(latents.rewards[steps])), rate, torch.from_numpy(mask))


def _reward_scale(rewards: npt.NDArray[np.float32]) -> float:
    """The standard deviation of the rewards; if they are all the same, their size, or 1."""
    spread, size = float(rewards.std()), float(np.abs(rewards).mean())
    # A spread that is only rounding would make the one reward there is look like millions.
    return spread if spread > 1e-6 * size else size or 1.0
