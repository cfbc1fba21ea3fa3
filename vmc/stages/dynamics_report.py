"""How good M is on validation episodes: one step ahead, and dreaming 50 steps by itself."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.dream.settings import TERMINATION_THRESHOLD, DreamSettings
from vmc.dream.world import DreamWorld, dream_along
from vmc.models.checkpoints import dynamics_folder
from vmc.models.dynamics import MDNRNN
from vmc.models.loading import load_dynamics, load_vae
from vmc.models.mixture import negative_log_likelihood, of_dimensions
from vmc.seeding import torch_stream
from vmc.stages.episode_batches import SequenceBatch, sequences_of
from vmc.storage.files import write_json
from vmc.storage.latents import Latents

DREAM_STEPS = 50
_BURN_IN = 50
_DREAM_STARTS_PER_EPISODE = 8


@torch.no_grad()
def report_dynamics(run: Path, latents: Latents, seed: int, device: torch.device) -> dict[str, float]:
    """Measures the run's best M on the validation episodes and writes `report.json`.

    Returns:
        `nll_per_dimension` (nats); `reward_explained_variance` (1 - Var(error) / Var(reward));
        `termination_precision` and `termination_recall` of the steps at which a dream would end; `dream_error_50`, the
        root mean squared error of z over a 50-step dream under the recorded actions, and beside it `copy_error_50`,
        that of predicting that nothing moves, and `spread`, the standard deviation of z, which is the error of an
        average; `dream_reward_correlation_50`, of the dreams' summed rewards with the recorded ones.
        What is said of z is said of the dimensions that V has not silenced.
        A figure that these episodes cannot give (no termination among them, say) is left out.
    """
    dynamics, checkpoint = load_dynamics(run, load_vae(run)[1])
    dynamics.to(device)
    sequences = sequences_of(checkpoint, latents, device)
    generator = torch_stream(seed, "mdrnn/report", device=device.type)
    batches = [sequences.batch(np.array([episode]), generator) for episode in latents.validation()]
    active = sequences.active
    report = _one_step(dynamics, batches, active) | _open_loop(dynamics, batches, active, generator)
    write_json(dynamics_folder(run) / "report.json", report)
    return report


def _one_step(dynamics: MDNRNN, batches: list[SequenceBatch], active: Tensor) -> dict[str, float]:
    nll, errors, rewards, predicted, actual = [], [], [], [], []
    for batch in batches:
        prediction, _ = dynamics(batch.latents[:, :-1], batch.actions, dynamics.initial_hidden(1))
        mixture = of_dimensions(prediction.mixture, active)
        nll.append(negative_log_likelihood(mixture, batch.latents[:, 1:, active]).flatten())
        errors.append((prediction.reward - batch.rewards).flatten())
        rewards.append(batch.rewards.flatten())
        probability = dynamics.termination_probability(prediction.termination_logit)
        predicted.append((probability > TERMINATION_THRESHOLD).flatten())
        actual.append(batch.terminations.flatten() > 0)
    report = {"nll_per_dimension": torch.cat(nll).mean().item()}
    variance = torch.cat(rewards).var(unbiased=False).item()
    if variance > 0:
        error_variance = torch.cat(errors).var(unbiased=False).item()
        report["reward_explained_variance"] = 1 - error_variance / variance
    said, true = torch.cat(predicted), torch.cat(actual)
    report["terminations"] = float(true.sum().item())
    if said.any():
        report["termination_precision"] = (said & true).sum().item() / said.sum().item()
    if true.any():
        report["termination_recall"] = (said & true).sum().item() / true.sum().item()
    return report


def _open_loop(
    dynamics: MDNRNN, batches: list[SequenceBatch], active: Tensor, generator: torch.Generator
) -> dict[str, float]:
    loop = open_loop(dynamics, batches, active, DREAM_STEPS, generator)
    if loop is None:
        return {}
    report = {
        f"dream_error_{DREAM_STEPS}": float(np.sqrt(loop.dream_errors.mean())),
        f"copy_error_{DREAM_STEPS}": float(np.sqrt(loop.copy_errors.mean())),
        "spread": spread(batches, active),
    }
    if np.std(loop.dreamed_rewards) > 0 and np.std(loop.recorded_rewards) > 0:
        correlation = np.corrcoef(loop.dreamed_rewards, loop.recorded_rewards)[0, 1]
        report[f"dream_reward_correlation_{DREAM_STEPS}"] = float(correlation)
    return report


def spread(batches: list[SequenceBatch], active: Tensor) -> float:
    """The standard deviation of z over these episodes: the error of predicting their average."""
    return torch.cat([batch.latents[0][:, active] for batch in batches]).std(dim=0).square().mean().sqrt().item()


class OpenLoop(NamedTuple):
    """N dreams of T steps from recorded moments, after a burn-in that fills the state, under the recorded actions.

    Attributes:
        dream_errors: mean squared error of z, (N, T).
        copy_errors: that of predicting that nothing moves, (N, T).
        dreamed_rewards, recorded_rewards: sums over the dream, (N,).
    """

    dream_errors: npt.NDArray[np.float32]
    copy_errors: npt.NDArray[np.float32]
    dreamed_rewards: npt.NDArray[np.float32]
    recorded_rewards: npt.NDArray[np.float32]


@torch.no_grad()
def open_loop(
    dynamics: MDNRNN, batches: list[SequenceBatch], active: Tensor, steps: int, generator: torch.Generator
) -> OpenLoop | None:
    """Dreams beside what was recorded; None where no episode is long enough."""
    moments = [(batch, start) for batch in batches for start in _starts(batch.actions.shape[1], steps)]
    if not moments:
        return None
    latents = torch.cat([batch.latents[:, start - _BURN_IN : start + steps + 1] for batch, start in moments])
    actions = torch.cat([batch.actions[:, start - _BURN_IN : start + steps] for batch, start in moments])
    recorded_rewards = torch.cat([batch.rewards[:, start : start + steps] for batch, start in moments])
    warm = slice(_BURN_IN)
    _, hidden = dynamics(latents[:, warm], actions[:, warm], dynamics.initial_hidden(len(moments)))
    first, recorded = latents[:, _BURN_IN], latents[:, _BURN_IN + 1 :]
    world = DreamWorld(dynamics, DreamSettings(temperature=1.0))
    dreamed, rewards = dream_along(world, first, hidden, actions[:, _BURN_IN:], generator)
    found = (
        (dreamed - recorded)[..., active].square().mean(dim=-1),
        (first[:, None] - recorded)[..., active].square().mean(dim=-1),
        rewards.sum(dim=1),
        recorded_rewards.sum(dim=1),
    )
    return OpenLoop(*(tensor.cpu().numpy() for tensor in found))


def _starts(length: int, steps: int) -> list[int]:
    last = length - steps
    if last < _BURN_IN:
        return []
    return sorted({int(start) for start in np.linspace(_BURN_IN, last, _DREAM_STARTS_PER_EPISODE)})
