"""Where dreams begin: recorded moments, with the state that M had there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.models.dynamics import MDNRNN, Hidden
from vmc.models.vae import sample_latent
from vmc.seeding import torch_stream
from vmc.storage.latents import Latents

_STRIDE = 10


class DreamStarts:
    """Every tenth moment of recorded episodes: V's posterior of its frame, and M's state before it.

    M's state comes from M itself, run over the episode from its first frame, so a dream that starts in the middle
    of a drive knows how it got there.

    Args:
        dynamics: M, on the device where the dreams will run.
        episodes: positions in `latents` of the episodes to start from.
        sample_latents: whether z is drawn from the posterior, as everywhere else in the run.
    """

    def __init__(
        self,
        dynamics: MDNRNN,
        latents: Latents,
        episodes: npt.NDArray[np.int64],
        sample_latents: bool,
        seed: int,
    ) -> None:
        self._sample = sample_latents
        generator = torch_stream(seed, "dream/starts")
        parts = [self._moments(dynamics, latents, int(episode), generator) for episode in episodes]
        self._means, self._log_variances, h, c = (torch.cat(column) for column in zip(*parts, strict=True))
        self._hidden = Hidden(h, c)

    def __len__(self) -> int:
        return len(self._means)

    def draw(self, generators: list[torch.Generator]) -> tuple[Tensor, Hidden]:
        """One start for each generator (on the CPU): latents (R, Z) and states (R, H)."""
        chosen = torch.cat([torch.randint(len(self), (1,), generator=generator) for generator in generators])
        chosen = chosen.to(self._means.device)
        means = self._means[chosen]
        hidden = Hidden(self._hidden.h[chosen], self._hidden.c[chosen])
        if not self._sample:
            return means, hidden
        noise = torch.stack([torch.randn(means.shape[1], generator=generator) for generator in generators])
        return sample_latent(means, self._log_variances[chosen], noise.to(means.device)), hidden

    @torch.no_grad()
    def _moments(
        self, dynamics: MDNRNN, latents: Latents, episode: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        length = int(latents.lengths[episode])
        frame, step = int(latents.first_frames()[episode]), int(latents.first_steps()[episode])
        hidden = dynamics.initial_hidden(1)
        device = hidden.h.device
        means = torch.from_numpy(latents.means[frame : frame + length])
        log_variances = torch.from_numpy(latents.log_variances[frame : frame + length])
        actions = torch.from_numpy(latents.actions[step : step + length]).to(device)
        noise = torch.randn(means.shape, generator=generator)
        drawn = sample_latent(means, log_variances, noise) if self._sample else means
        drawn = drawn.to(device)
        states = []
        for first in range(0, length, _STRIDE):
            states.append(hidden)
            window = slice(first, first + _STRIDE)
            _, hidden = dynamics(drawn[None, window], actions[None, window], hidden)
        h, c = (torch.cat(column) for column in zip(*states, strict=True))
        return means[::_STRIDE].to(device), log_variances[::_STRIDE].to(device), h, c
