"""Where dreams begin: recorded moments, with the state that M had there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.errors import VmcError
from vmc.models.backbones.contract import Hidden
from vmc.models.dynamics import MDNRNN
from vmc.models.vae import sample_latent
from vmc.seeding import torch_stream
from vmc.storage.latents import Latents

_STRIDE = 10


class DreamStarts:
    """Moments that dreams begin at: V's posterior of a frame, and M's state before it.

    Args:
        means, log_variances: V's posterior, (N, Z).
        hidden: M's state, (N, H), on the same device.
        sample_latents: whether z is drawn from the posterior, as everywhere else in the run.
    """

    def __init__(self, means: Tensor, log_variances: Tensor, hidden: Hidden, sample_latents: bool) -> None:
        self.means, self.log_variances, self.hidden = means, log_variances, hidden
        self._sample = sample_latents

    def __len__(self) -> int:
        return len(self.means)

    def selected(self, moments: npt.NDArray[np.int64]) -> DreamStarts:
        """These moments alone, by their positions."""
        chosen = torch.from_numpy(moments).to(self.means.device)
        hidden = Hidden(self.hidden.h[chosen], self.hidden.c[chosen])
        return DreamStarts(self.means[chosen], self.log_variances[chosen], hidden, self._sample)

    def draw(self, generators: list[np.random.Generator]) -> tuple[Tensor, Hidden]:
        """One start for each generator: latents (R, Z) and states (R, H)."""
        drawn = self.selected(np.array([generator.integers(len(self)) for generator in generators]))
        means, hidden = drawn.means, drawn.hidden
        if not self._sample:
            return means, hidden
        noise = np.stack([generator.standard_normal(means.shape[1], np.float32) for generator in generators])
        return sample_latent(means, drawn.log_variances, torch.from_numpy(noise).to(means.device)), hidden


def record_starts(
    dynamics: MDNRNN,
    latents: Latents,
    episodes: npt.NDArray[np.int64],
    sample_latents: bool,
    seed: int,
    no_reward_limit: int | None = None,
) -> DreamStarts:
    """Every tenth moment of recorded episodes, but for those at which a dream would be over (`Latents.termination_labels`).

    M's state comes from M itself, run over the episode from its first frame, so a dream that starts in the middle
    of a drive knows how it got there.

    Args:
        dynamics: M, on the device where the dreams will run.
        episodes: positions in `latents` of the episodes to start from.

    Raises:
        VmcError: no moment is left.
    """
    generator = torch_stream(seed, "dream/starts")
    lengths = latents.lengths[episodes]
    frames, steps = latents.first_frames()[episodes], latents.first_steps()[episodes]
    # All episodes side by side, padded with zeros to the longest; nothing starts in a terminal frame.
    means, log_variances = (_padded(values, frames, lengths) for values in (latents.means, latents.log_variances))
    noise = torch.randn(means.shape, generator=generator)
    drawn = sample_latent(means, log_variances, noise) if sample_latents else means
    actions = _padded(latents.actions, steps, lengths)
    hidden = _hidden_before(dynamics, drawn, actions)
    moments = torch.arange(0, means.shape[1], _STRIDE)
    over = (
        _padded(latents.termination_labels(no_reward_limit)[:, None].astype(np.float32), steps, lengths)[:, moments, 0]
        > 0
    )
    kept = (moments < torch.from_numpy(lengths)[:, None]) & ~over
    if not kept.any():
        hint = "Collect longer or better episodes, or train M with a longer --no-reward-limit, or without."
        raise VmcError(f"No recorded moment is left to dream from; stalls of {no_reward_limit} steps are not.", hint)
    device = hidden.h.device
    means, log_variances = (values[:, moments][kept].to(device) for values in (means, log_variances))
    kept = kept.to(device)
    return DreamStarts(means, log_variances, Hidden(hidden.h[kept], hidden.c[kept]), sample_latents)


def _padded(values: npt.NDArray[np.float32], firsts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Tensor:
    """Episodes cut out of their concatenation, (E, longest, ...), zero where an episode is over."""
    rows = np.zeros((len(firsts), int(lengths.max()), values.shape[1]), np.float32)
    for row, first, length in zip(rows, firsts, lengths, strict=True):
        row[:length] = values[first : first + length]
    return torch.from_numpy(rows)


@torch.no_grad()
def _hidden_before(dynamics: MDNRNN, latents: Tensor, actions: Tensor) -> Hidden:
    """M's state before every `_STRIDE`-th step of each episode, (E, T / _STRIDE, H)."""
    hidden = dynamics.initial_hidden(len(latents))
    latents, actions = latents.to(hidden.h.device), actions.to(hidden.h.device)
    states = []
    for first in range(0, latents.shape[1], _STRIDE):
        states.append(hidden)
        for t in range(first, min(first + _STRIDE, latents.shape[1])):
            hidden = dynamics.step(latents[:, t], actions[:, t], hidden)
    h, c = (torch.stack(column, dim=1) for column in zip(*states, strict=True))
    return Hidden(h, c)
