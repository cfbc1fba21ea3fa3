"""Stage `train-mdrnn`: M on the latent episodes of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.envs import PREPROCESSINGS, action_map_from_json, get_task
from vmc.models.checkpoints import TRAIN_MDRNN, TRAIN_VAE, dynamics_folder, require_finished, vae_folder
from vmc.models.dynamics.contract import SequenceBatch, WorldModel
from vmc.models.loading import arrays_of, dynamics_graphs, dynamics_info, load_vae, make_dynamics
from vmc.seeding import seeded_initialisation, stream, torch_stream
from vmc.stages.device import choose_device, one_thread
from vmc.stages.dreaming import keep_starts
from vmc.stages.dynamics_report import report_dynamics
from vmc.stages.encode import ensure_latents
from vmc.stages.episode_batches import LatentSequences, statistics_of
from vmc.stages.settings import TrainMDRNNSettings
from vmc.stages.training import FitConfig, TrainState, fit
from vmc.storage.checkpoint import save_checkpoint
from vmc.storage.files import locked
from vmc.storage.latents import Latents
from vmc.storage.rollouts import RolloutDataset, check_env_matches, split_validation

# The largest gradient norm.
_GRADIENT_CLIP = 1.0
# Batches whose episodes are sorted by length among themselves: padding is 14% of CarRacing's steps, in all sorted 1%.
_SORTED_TOGETHER = 8


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
        self._training, self._validation = latents.training(), latents.validation()
        self._sequences = LatentSequences(latents, settings.sample_latents, device, settings.no_reward_limit)
        self._statistics = statistics_of(latents, latent_mask, settings.no_reward_limit)
        self.module = _new_model(settings, *_widths(latents)).to(device)
        self.module.prepare(self._statistics)
        self.optimizer = torch.optim.Adam(self.module.parameters(), settings.learning_rate)

    def num_units(self) -> int:
        return ceil(len(self._training) / self._settings.batch_size)

    def batches(self, epoch: int, first_unit: int) -> Iterator[SequenceBatch]:
        for unit in range(first_unit, self.num_units()):
            yield self.batch(epoch, unit)

    def batch(self, epoch: int, unit: int) -> SequenceBatch:
        """The epoch's `unit`-th batch of episodes, with z drawn for it."""
        generator = torch_stream(self._settings.seed, "mdrnn/latents", epoch, unit, device=self._device.type)
        batch = self._sequences.batch(self._units(epoch)[unit], generator)
        count, steps = batch.mask.shape
        return replace(batch, noise=self.module.draw_training_noise(count, steps, generator))

    def _units(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """The episodes of each batch of an epoch, in random order; those of a batch are about equally long.

        In a free order, two fifths of CarRacing's steps were padding, and few episodes reached a batch's last windows.
        """
        generator, size = stream(self._settings.seed, "mdrnn/order", epoch), self._settings.batch_size
        order = generator.permutation(self._training)
        groups = np.split(order, range(size * _SORTED_TOGETHER, len(order), size * _SORTED_TOGETHER))
        order = np.concatenate([group[np.argsort(self._sequences.lengths[group], kind="stable")] for group in groups])
        units = np.split(order, range(size, len(order), size))
        return [units[position] for position in generator.permutation(len(units))]

    def begin_phase(self, before: Mapping[str, Any]) -> None:
        relabelled = before.get("no_reward_limit") != self._settings.no_reward_limit
        self.module.adapt(self._statistics, relabelled)

    def kept_weights(self) -> dict[str, Tensor]:
        """M's weights as they are."""
        return self.module.state_dict()

    def validate(self) -> dict[str, float]:
        """Mean losses over the validation episodes, always with the same draws of z."""
        generator = torch_stream(self._settings.seed, "mdrnn/validation", device=self._device.type)
        means = _Means()
        sorted_by_length = self._validation[np.argsort(self._sequences.lengths[self._validation], kind="stable")]
        for episodes in np.array_split(sorted_by_length, ceil(len(sorted_by_length) / self._settings.batch_size)):
            batch = self._sequences.batch(episodes, generator)
            losses, _ = self.module.loss(batch, self.module.initial(batch.latents[:, 0]))
            means.add(losses, batch)
        return means.values()

    def train_batch(self, batch: SequenceBatch) -> dict[str, float]:
        """Steps of Adam, one a window; returns the windows' mean losses."""
        state = self.module.initial(batch.latents[:, 0])
        means = _Means()
        for first in range(0, batch.mask.shape[1], self._settings.window):
            window = batch.window(first, first + self._settings.window)
            losses, state = self.module.loss(window, state)
            self.optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), _GRADIENT_CLIP)
            self.optimizer.step()
            state = state.detach()
            means.add(losses, window)
        return means.values()


class _Means:
    """Means of losses over batches, weighted by their real steps."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps = 0.0

    def add(self, losses: dict[str, Tensor], batch: SequenceBatch) -> None:
        steps = batch.mask.sum().item()
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.item() * steps
        self._steps += steps

    def values(self) -> dict[str, float]:
        return {name: total / self._steps for name, total in self._sums.items()}


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
    _new_model(settings, latent_size=1, action_size=1)  # an unknown kind is told before any work
    require_finished(vae_folder(run), TRAIN_VAE)
    dataset = RolloutDataset(data)
    check_env_matches(dataset, settings.env, PREPROCESSINGS)
    split_validation(dataset.episodes)
    folder = dynamics_folder(run)
    with locked(folder):
        latents, vae = ensure_latents(run, dataset, device)
        trainable = DynamicsTraining(settings, latents, vae.weights["latent_mask"], device)
        inputs = {"data": dataset.fingerprint(), "vae": vae.sha256}
        info = _info(settings, trainable.module, vae.sha256, dataset.action_map) | {"inputs": inputs}
        graphs = dynamics_graphs(settings.dynamics, _new_model(settings, *_widths(latents)))
        config = FitConfig(
            "M", TRAIN_MDRNN, settings.epochs, settings.patience, settings, inputs, info, graphs, loggers
        )
        with one_thread(device):
            state = fit(trainable, folder, config)
        report = report_dynamics(run, latents, settings.seed, device)
        keep_starts(run, latents, settings.seed, device)
    return state, report


def keep_untrained(settings: TrainMDRNNSettings, run: Path) -> None:
    """Keeps an untrained M for the run's V, without data: it can be used by C, but not dreamed.

    Raises:
        VmcError: V missing or corrupt, a folder that cannot be written.
    """
    vae, checkpoint = load_vae(run)
    action_map = checkpoint.info["action_map"]
    model = _new_model(settings, vae.settings.latent_size, action_map_from_json(action_map).size)
    info = _info(settings, model, checkpoint.sha256, action_map)
    graphs = dynamics_graphs(settings.dynamics, model)
    save_checkpoint(dynamics_folder(run), "best", info, arrays_of(model), graphs=graphs)


def _info(settings: TrainMDRNNSettings, model: WorldModel, vae: str, action_map: dict[str, Any]) -> dict[str, Any]:
    kept = {name: getattr(settings, name) for name in ("sample_latents", "no_reward_limit")}
    return dynamics_info(settings.dynamics, model) | {"vae": vae, "action_map": action_map, **kept}


def _widths(latents: Latents) -> tuple[int, int]:
    """Z and A."""
    return latents.means.shape[1], latents.actions.shape[1]


def _new_model(settings: TrainMDRNNSettings, latent_size: int, action_size: int) -> WorldModel:
    widths = {"latent_size": latent_size, "action_size": action_size}
    hidden_size = get_task(settings.env).hidden_size
    with seeded_initialisation(settings.seed):
        return make_dynamics(settings.dynamics, hidden_size=hidden_size, mixture=settings.mixture, **widths)
