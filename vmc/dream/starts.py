"""The moments at which dreams begin: recorded ones, with the state that M had there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.errors import VmcError
from vmc.models.dynamics.contract import WorldModel
from vmc.models.dynamics.state import State
from vmc.models.vision.contract import sample_latent
from vmc.seeding import torch_stream
from vmc.storage.latents import Latents

_STRIDE = 10


class DreamStarts:
    """Recorded moments: V's posterior of a frame, and M's state there.

    Args:
        dynamics: M.
        means, log_variances: V's posterior, (N, Z).
        state: M's, of N rows, on the same device.
        sample_latents: whether z is drawn from the posterior, as everywhere else in the run.
    """

    def __init__(
        self, dynamics: WorldModel, means: Tensor, log_variances: Tensor, state: State, sample_latents: bool
    ) -> None:
        self.dynamics, self.means, self.log_variances, self.state = dynamics, means, log_variances, state
        self.sample_latents = sample_latents

    def __len__(self) -> int:
        return len(self.means)

    def selected(self, moments: npt.NDArray[np.int64]) -> DreamStarts:
        """These moments alone, by their positions."""
        chosen = torch.from_numpy(moments).to(self.means.device)
        return DreamStarts(
            self.dynamics,
            self.means[chosen],
            self.log_variances[chosen],
            self.state.rows(chosen),
            self.sample_latents,
        )

    def draw(self, generators: list[np.random.Generator]) -> State:
        """A state of R rows, one start for each generator, with a z of its own where z is sampled."""
        return self.at(np.array([generator.integers(len(self)) for generator in generators]), generators)

    def draw_many(self, count: int, rng: np.random.Generator) -> State:
        """A state of so many rows, each with a start and a z of its own, by one generator."""
        drawn = self.selected(rng.integers(len(self), size=count))
        noise = rng.standard_normal(drawn.means.shape, np.float32)
        latents = drawn.means
        if self.sample_latents:
            latents = sample_latent(latents, drawn.log_variances, torch.from_numpy(noise).to(latents.device))
        return self.dynamics.with_latents(drawn.state, latents)

    def at(self, moments: npt.NDArray[np.int64], generators: list[np.random.Generator]) -> State:
        """The state at these moments, by their positions (R,), with a z of its own where z is sampled."""
        drawn = self.selected(moments)
        means = latents = drawn.means
        if self.sample_latents:
            noise = np.stack([generator.standard_normal(means.shape[1], np.float32) for generator in generators])
            latents = sample_latent(means, drawn.log_variances, torch.from_numpy(noise).to(means.device))
        return self.dynamics.with_latents(drawn.state, latents)


def record_starts(
    dynamics: WorldModel,
    latents: Latents,
    episodes: npt.NDArray[np.int64],
    sample_latents: bool,
    seed: int,
    no_reward_limit: int | None = None,
) -> DreamStarts:
    """Every tenth moment of recorded episodes, without the steps labelled as terminated.

    M's state comes from M itself, run over the episode from its first frame, so a dream that starts in the middle of
    an episode knows how it got there.

    Args:
        dynamics: M, on the device where the dreams will run.
        episodes: positions in `latents` of the episodes to start from.
        no_reward_limit: of the termination labels, as M was trained.

    Raises:
        VmcError: no moment is left.
    """
    generator = torch_stream(seed, "dream/starts")
    lengths = latents.lengths[episodes]
    frames, steps = latents.first_frames()[episodes], latents.first_steps()[episodes]
    # All episodes side by side, padded with zeros to the longest; no dream starts at a terminal frame.
    means, log_variances = (_padded(values, frames, lengths) for values in (latents.means, latents.log_variances))
    noise = torch.randn(means.shape, generator=generator)
    drawn = sample_latent(means, log_variances, noise) if sample_latents else means
    state = _states_along(dynamics, drawn, _padded(latents.actions, steps, lengths))
    moments = torch.arange(0, means.shape[1], _STRIDE)
    labels = latents.termination_labels(no_reward_limit)[:, None].astype(np.float32)
    lost = _padded(labels, steps, lengths)[:, moments, 0] > 0
    kept = (moments < torch.from_numpy(lengths)[:, None]) & ~lost
    if not kept.any():
        raise VmcError(
            f"No recorded moment is left to dream from: all steps are labelled as terminated, with a no-reward limit "
            f"of {no_reward_limit}.",
            "Collect longer or better episodes, or train M with a larger --no-reward-limit, or without.",
        )
    device = state[0].device
    means, log_variances = (values[:, moments][kept].to(device) for values in (means, log_variances))
    return DreamStarts(dynamics, means, log_variances, state.rows(kept.to(device)), sample_latents)


def _padded(values: npt.NDArray[np.float32], firsts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Tensor:
    """Episodes cut out of their concatenation, (E, longest, ...), zero after an episode's end."""
    rows = np.zeros((len(firsts), int(lengths.max()), values.shape[1]), np.float32)
    for row, first, length in zip(rows, firsts, lengths, strict=True):
        row[:length] = values[first : first + length]
    return torch.from_numpy(rows)


@torch.no_grad()
def _states_along(dynamics: WorldModel, latents: Tensor, actions: Tensor) -> State:
    """M's state at every `_STRIDE`-th frame of each episode: parts (E, T / _STRIDE, ...)."""
    device = next(dynamics.buffers()).device
    latents, actions = latents.to(device), actions.to(device)
    state = dynamics.initial(latents[:, 0])
    states = [state]
    for t in range(1, latents.shape[1]):
        state = dynamics.observe(state, actions[:, t - 1], latents[:, t])
        if t % _STRIDE == 0:
            states.append(state)
    return State.joined(states, lambda parts: torch.stack(list(parts), dim=1))
