"""The quality of M on validation episodes: one step ahead, and dreaming 50 steps by itself."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from vmc.dream.settings import TERMINATION_THRESHOLD, DreamSettings
from vmc.dream.world import DreamWorld, dream_along
from vmc.models.checkpoints import dynamics_folder
from vmc.models.dynamics.contract import SequenceBatch, WorldModel
from vmc.models.loading import load_dynamics, load_vae
from vmc.seeding import stream, torch_stream
from vmc.stages.episode_batches import sequences_of
from vmc.storage.files import write_json
from vmc.storage.latents import Latents

DREAM_STEPS = 50
_BURN_IN = 50
_DREAM_STARTS_PER_EPISODE = 8


@torch.no_grad()
def report_dynamics(run: Path, latents: Latents, seed: int, device: torch.device) -> dict[str, float]:
    """Measures the run's best M on the validation episodes and writes `report.json`.

    Returns:
        `nll_per_dimension` (nats); `reward_explained_variance` (1 - Var(error) / Var(reward)); `reward_slope` of the
        recorded rewards on the predicted ones (1: calibrated); `termination_precision` and `termination_recall` of
        the steps at which a dream would terminate; `termination_ratio` of the mean predicted probability to the
        frequency (1: calibrated);
        `dream_error_50` (and `_10`), the root mean squared error of z over a 50-step dream under the recorded
        actions, and beside it `copy_error_50`, that of predicting that nothing moves, and `spread`, the standard
        deviation of z, which is the error of an average; `dream_reward_correlation_50`, of the dreams' summed rewards
        with the recorded ones.
        Errors of z are over the latent dimensions in use.
        A metric that these episodes cannot give (no termination among them, say) is left out.
    """
    dynamics, checkpoint = load_dynamics(run, load_vae(run)[1])
    dynamics.to(device)
    sequences = sequences_of(checkpoint, latents, device)
    generator = torch_stream(seed, "mdrnn/report", device=device.type)
    batches = [sequences.batch(np.array([episode]), generator) for episode in latents.validation()]
    report = _one_step(dynamics, batches) | _open_loop(dynamics, batches, stream(seed, "mdrnn/report"))
    write_json(dynamics_folder(run) / "report.json", report)
    return report


def _one_step(dynamics: WorldModel, batches: list[SequenceBatch]) -> dict[str, float]:
    nll, expected, rewards, probabilities, actual = [], [], [], [], []
    for batch in batches:
        prediction, _ = dynamics.predict(batch, dynamics.initial(batch.latents[:, 0]))
        nll.append(prediction.nll.flatten())
        expected.append(prediction.rewards.flatten())
        rewards.append(batch.rewards.flatten())
        probabilities.append(prediction.terminations.flatten())
        actual.append(batch.terminations.flatten() > 0)
    report = {"nll_per_dimension": torch.cat(nll).mean().item()}
    reward, prediction_of_it = torch.cat(rewards), torch.cat(expected)
    variance = reward.var(unbiased=False).item()
    if variance > 0:
        report["reward_explained_variance"] = 1 - (prediction_of_it - reward).var(unbiased=False).item() / variance
    spread_of_it = prediction_of_it.var(unbiased=False).item()
    if spread_of_it > 0:
        centred = (prediction_of_it - prediction_of_it.mean()) * (reward - reward.mean())
        report["reward_slope"] = centred.mean().item() / spread_of_it
    probability, true = torch.cat(probabilities), torch.cat(actual)
    said = probability > TERMINATION_THRESHOLD
    report["terminations"] = float(true.sum().item())
    if said.any():
        report["termination_precision"] = (said & true).sum().item() / said.sum().item()
    if true.any():
        report["termination_recall"] = (said & true).sum().item() / true.sum().item()
        report["termination_ratio"] = probability.mean().item() / true.float().mean().item()
    return report


def _open_loop(dynamics: WorldModel, batches: list[SequenceBatch], rng: np.random.Generator) -> dict[str, float]:
    loop = open_loop(dynamics, batches, DREAM_STEPS, rng)
    if loop is None:
        return {}
    report = {
        "dream_error_10": float(np.sqrt(loop.dream_errors[:, :10].mean())),
        f"dream_error_{DREAM_STEPS}": float(np.sqrt(loop.dream_errors.mean())),
        f"copy_error_{DREAM_STEPS}": float(np.sqrt(loop.copy_errors.mean())),
        "spread": spread(dynamics, batches),
    }
    if np.std(loop.dreamed_rewards) > 0 and np.std(loop.recorded_rewards) > 0:
        correlation = np.corrcoef(loop.dreamed_rewards, loop.recorded_rewards)[0, 1]
        report[f"dream_reward_correlation_{DREAM_STEPS}"] = float(correlation)
    return report


def spread(dynamics: WorldModel, batches: list[SequenceBatch]) -> float:
    """The standard deviation of z over these episodes: the error of predicting their average."""
    latents = torch.cat([batch.latents[0] for batch in batches])[:, dynamics.latent_mask]
    return latents.std(dim=0).square().mean().sqrt().item()


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
    dynamics: WorldModel, batches: list[SequenceBatch], steps: int, rng: np.random.Generator
) -> OpenLoop | None:
    """Dreams beside the recorded episodes; None if no episode is long enough."""
    moments = [(batch, start) for batch in batches for start in _starts(batch.actions.shape[1], steps)]
    if not moments:
        return None
    parts = [batch.window(start - _BURN_IN, start + steps) for batch, start in moments]
    fields = ("latents", "actions", "rewards", "terminations", "mask")
    batch = SequenceBatch(*(torch.cat([getattr(part, name) for part in parts]) for name in fields))
    _, state = dynamics.predict(batch.window(0, _BURN_IN), dynamics.initial(batch.latents[:, 0]))
    first, recorded = batch.latents[:, _BURN_IN], batch.latents[:, _BURN_IN + 1 :]
    actions, rewards = batch.actions[:, _BURN_IN:], batch.rewards[:, _BURN_IN:]
    dreamed, dreamed_rewards = dream_along(DreamWorld(dynamics), state, actions, rng, DreamSettings())
    used = dynamics.latent_mask
    found = (
        (dreamed - recorded)[..., used].square().mean(dim=-1),
        (first[:, None] - recorded)[..., used].square().mean(dim=-1),
        dreamed_rewards.sum(dim=1),
        rewards.sum(dim=1),
    )
    return OpenLoop(*(tensor.cpu().numpy() for tensor in found))


def _starts(length: int, steps: int) -> list[int]:
    last = length - steps
    if last < _BURN_IN:
        return []
    return sorted({int(start) for start in np.linspace(_BURN_IN, last, _DREAM_STARTS_PER_EPISODE)})
