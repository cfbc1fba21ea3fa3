"""Stage `train-mdrnn`: M on the latent episodes of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.envs import PREPROCESSINGS, action_map_from_json
from vmc.errors import VmcError
from vmc.models.checkpoints import TRAIN_MDRNN, TRAIN_VAE, dynamics_folder, joint_folder, require_finished, vae_folder
from vmc.models.dynamics.contract import SequenceBatch
from vmc.models.loading import arrays_of, dynamics_graphs, load_vae
from vmc.seeding import torch_stream
from vmc.stages.device import choose_device, one_thread
from vmc.stages.dreaming import keep_starts
from vmc.stages.dynamics_report import report_dynamics
from vmc.stages.encode import ensure_latents
from vmc.stages.episode_batches import GRADIENT_CLIP, EpisodeOrder, LatentSequences, Means, statistics_of
from vmc.stages.new_dynamics import dynamics_facts, new_dynamics, widths
from vmc.stages.settings import TrainMDRNNSettings
from vmc.stages.train_jointly import train_jointly
from vmc.stages.training import FitConfig, TrainState, fit
from vmc.storage.checkpoint import has_checkpoint, save_checkpoint
from vmc.storage.files import locked
from vmc.storage.latents import Latents
from vmc.storage.rollouts import RolloutDataset, check_env_matches, split_validation


class DynamicsTraining:
    """M's side of `fit`: units are batches of whole episodes, trained window by window.

    Args:
        latent_mask: V's, bool (Z,).
    """

    unit = "batches"

    def __init__(
        self,
        settings: TrainMDRNNSettings,
        latents: Latents,
        latent_mask: npt.NDArray[np.bool_],
        device: torch.device,
    ) -> None:
        self._settings = settings
        self._device = device
        self._order = EpisodeOrder(latents, settings.batch_size, settings.seed)
        self._sequences = LatentSequences(latents, settings.sample_latents, device, settings.no_reward_limit)
        self._statistics = statistics_of(latents, latent_mask, settings.no_reward_limit)
        self.module = new_dynamics(settings, *widths(latents)).to(device)
        self.module.prepare(self._statistics)
        self.optimizer = torch.optim.Adam(self.module.parameters(), settings.learning_rate)

    def num_units(self) -> int:
        return self._order.num_units

    def batches(self, epoch: int, first_unit: int) -> Iterator[SequenceBatch]:
        for unit in range(first_unit, self.num_units()):
            yield self.batch(epoch, unit)

    def batch(self, epoch: int, unit: int) -> SequenceBatch:
        """The epoch's `unit`-th batch of episodes, with z drawn for it."""
        generator = torch_stream(self._settings.seed, "mdrnn/latents", epoch, unit, device=self._device.type)
        batch = self._sequences.batch(self._order.units(epoch)[unit], generator)
        count, steps = batch.mask.shape
        return replace(batch, noise=self.module.draw_training_noise(count, steps, generator))

    def begin_phase(self, before: Mapping[str, Any]) -> None:
        relabelled = before.get("no_reward_limit") != self._settings.no_reward_limit
        self.module.adapt(self._statistics, relabelled)

    def kept_weights(self) -> dict[str, Tensor]:
        """M's weights as they are."""
        return self.module.state_dict()

    def validate(self) -> dict[str, float]:
        """Mean losses over the validation episodes, always with the same draws of z."""
        generator = torch_stream(self._settings.seed, "mdrnn/validation", device=self._device.type)
        means = Means()
        for episodes in self._order.validation():
            batch = self._sequences.batch(episodes, generator)
            losses, _ = self.module.loss(batch, self.module.initial(batch.latents[:, 0]))
            means.add(losses, batch)
        return means.values()

    def train_batch(self, batch: SequenceBatch) -> dict[str, float]:
        """Steps of Adam, one a window; returns the windows' mean losses."""
        state = self.module.initial(batch.latents[:, 0])
        means = Means()
        for first in range(0, batch.mask.shape[1], self._settings.window):
            window = batch.window(first, first + self._settings.window)
            losses, state = self.module.loss(window, state)
            self.optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), GRADIENT_CLIP)
            self.optimizer.step()
            state = state.detach()
            means.add(losses, window)
        return means.values()


def train_mdrnn(
    settings: TrainMDRNNSettings, data: Path, run: Path, device_name: str, loggers: Sequence[str] = ()
) -> tuple[TrainState, dict[str, float]]:
    """Encodes the data where that is needed, then trains M, or goes on where it was stopped.

    Beside M it keeps moments for dreams to start at, so that they need no data.

    Returns:
        The training's state, and the report on validation episodes (also in `report.json`).

    Raises:
        VmcError: V missing or unfinished, no data, settings that changed, a folder that cannot be written.
    """
    device = choose_device(device_name)
    new_dynamics(settings, latent_size=1, action_size=1)  # an unknown kind is told before any work
    require_finished(vae_folder(run), TRAIN_VAE)
    dataset = RolloutDataset(data)
    check_env_matches(dataset, settings.env, PREPROCESSINGS)
    split_validation(dataset.episodes)
    folder = dynamics_folder(run)
    with locked(folder):
        _check_trained_as_before(run, settings.joint)
        train = train_jointly if settings.joint else _train_on_latents
        state = train(settings, dataset, run, device, loggers)
        latents, _ = ensure_latents(run, dataset, device)
        report = report_dynamics(run, latents, settings.seed, device)
        keep_starts(run, latents, settings.seed, device)
    return state, report


def _check_trained_as_before(run: Path, joint: bool) -> None:
    before = has_checkpoint(joint_folder(run), "latest")
    if before != joint and (before or has_checkpoint(dynamics_folder(run), "latest")):
        with_or_without = "with" if before else "without"
        raise VmcError(f"M in {run} was trained {with_or_without} --joint.", "Do the same, or give another --run.")


def _train_on_latents(
    settings: TrainMDRNNSettings, dataset: RolloutDataset, run: Path, device: torch.device, loggers: Sequence[str]
) -> TrainState:
    latents, vae = ensure_latents(run, dataset, device)
    trainable = DynamicsTraining(settings, latents, vae.weights["latent_mask"], device)
    inputs = {"data": dataset.fingerprint(), "vae": vae.sha256}
    info = dynamics_facts(settings, trainable.module, dataset.action_map) | {"vae": vae.sha256, "inputs": inputs}
    graphs = dynamics_graphs(settings.dynamics, new_dynamics(settings, *widths(latents)))
    parts = settings, inputs, info, graphs, loggers
    with one_thread(device):
        config = FitConfig("M", TRAIN_MDRNN, settings.epochs, settings.patience, *parts)
        return fit(trainable, dynamics_folder(run), config)


def keep_untrained(settings: TrainMDRNNSettings, run: Path) -> None:
    """Keeps an untrained M for the run's V, without data: it can be used by C, but not dreamed.

    Raises:
        VmcError: V missing or corrupt, a folder that cannot be written.
    """
    vae, checkpoint = load_vae(run)
    action_map = checkpoint.info["action_map"]
    model = new_dynamics(settings, vae.settings.latent_size, action_map_from_json(action_map).size)
    info = dynamics_facts(settings, model, action_map) | {"vae": checkpoint.sha256}
    graphs = dynamics_graphs(settings.dynamics, model)
    save_checkpoint(dynamics_folder(run), "best", info, arrays_of(model), graphs=graphs)
