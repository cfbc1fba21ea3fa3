"""How good M is on held-out episodes: one step ahead, and dreaming 50 steps by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vmc.dream.world import DreamSettings, DreamWorld, dream_along
from vmc.models.checkpoints import dynamics_folder
from vmc.models.dynamics import MDNRNN
from vmc.models.loading import load_dynamics, load_vae
from vmc.models.mixture import negative_log_likelihood
from vmc.seeding import torch_stream
from vmc.stages.sequences import LatentSequences, SequenceBatch
from vmc.storage.files import write_json
from vmc.storage.latents import Latents

DREAM_STEPS = 50
_BURN_IN = 50
_DREAM_STARTS_PER_EPISODE = 8


@torch.no_grad()
def report_dynamics(
    run: Path, latents: Latents, sample_latents: bool, seed: int, device: torch.device
) -> dict[str, float]:
    """Measures the run's best M on the held-out episodes and writes `report.json`.

    Returns:
        `nll_per_dimension` (nats); `reward_explained_variance` (1 - Var(error) / Var(reward));
        `termination_precision` and `termination_recall` at probability 0.5; `dream_error_50`, the root mean
        squared error of z over a 50-step dream under the recorded actions, and beside it `copy_error_50`, that of
        predicting that nothing moves, and `spread`, the standard deviation of z, which is the error of an
        average; `dream_reward_correlation_50`, of the dreams' summed rewards with the recorded ones.
        A figure that these episodes cannot give (no termination among them, say) is left out.
    """
    dynamics, _ = load_dynamics(run, load_vae(run)[1])
    dynamics.to(device)
    sequences = LatentSequences(latents, sample_latents, device)
    generator = torch_stream(seed, "mdrnn/report", device=device.type)
    batches = [sequences.batch(np.array([episode]), generator) for episode in latents.held_out()]
    report = _one_step(dynamics, batches) | _open_loop(dynamics, batches, generator)
    write_json(dynamics_folder(run) / "report.json", report)
    return report


def _one_step(dynamics: MDNRNN, batches: list[SequenceBatch]) -> dict[str, float]:
    nll, errors, rewards, predicted, actual = [], [], [], [], []
    for batch in batches:
        prediction, _ = dynamics(batch.latents[:, :-1], batch.actions, dynamics.initial_hidden(1))
        nll.append(negative_log_likelihood(prediction.mixture, batch.latents[:, 1:]).flatten())
        errors.append((prediction.reward - batch.rewards).flatten())
        rewards.append(batch.rewards.flatten())
        predicted.append((prediction.termination_logit > 0).flatten())
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


def _open_loop(dynamics: MDNRNN, batches: list[SequenceBatch], generator: torch.Generator) -> dict[str, float]:
    """Dreams from recorded moments, after a burn-in that fills the state, under the recorded actions."""
    world = DreamWorld(dynamics, DreamSettings(temperature=1.0))
    errors, copies, dreamed_sums, recorded_sums = [], [], [], []
    for batch in batches:
        for start in _starts(batch.actions.shape[1]):
            warm = slice(start - _BURN_IN, start)
            _, hidden = dynamics(batch.latents[:, warm], batch.actions[:, warm], dynamics.initial_hidden(1))
            actions = batch.actions[:, start : start + DREAM_STEPS]
            recorded = batch.latents[:, start + 1 : start + 1 + DREAM_STEPS]
            first = batch.latents[:, start]
            dreamed, rewards = dream_along(world, first, hidden, actions, generator)
            errors.append((dreamed - recorded).square().mean().item())
            copies.append((first[:, None] - recorded).square().mean().item())
            dreamed_sums.append(rewards.sum().item())
            recorded_sums.append(batch.rewards[:, start : start + DREAM_STEPS].sum().item())
    if not errors:
        return {}
    spread = torch.cat([batch.latents[0] for batch in batches]).std(dim=0).square().mean().sqrt().item()
    report = {
        "dream_error_50": float(np.sqrt(np.mean(errors))),
        "copy_error_50": float(np.sqrt(np.mean(copies))),
        "spread": spread,
    }
    if np.std(dreamed_sums) > 0 and np.std(recorded_sums) > 0:
        report["dream_reward_correlation_50"] = float(np.corrcoef(dreamed_sums, recorded_sums)[0, 1])
    return report


def _starts(length: int) -> list[int]:
    last = length - DREAM_STEPS
    if last < _BURN_IN:
        return []
    return sorted({int(start) for start in np.linspace(_BURN_IN, last, _DREAM_STARTS_PER_EPISODE)})
