"""Stage `train-mdrnn`: M on the latent episodes of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, log
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from vmc.envs import PREPROCESSINGS, get_task
from vmc.models.backbones.contract import Hidden
from vmc.models.checkpoints import TRAIN_MDRNN, TRAIN_VAE, dynamics_folder, model_info, require_finished, vae_folder
from vmc.models.dynamics import MDNRNN
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.models.loading import load_vae
from vmc.models.mixture import negative_log_likelihood, of_dimensions
from vmc.seeding import seeded_initialisation, stream, torch_stream
from vmc.stages.device import choose_device, one_thread
from vmc.stages.dreaming import keep_starts, real_action_space
from vmc.stages.dynamics_report import report_dynamics
from vmc.stages.encode import ensure_latents
from vmc.stages.episode_batches import LatentSequences, SequenceBatch
from vmc.stages.settings import TrainMDRNNSettings
from vmc.stages.training import FitConfig, TrainState, fit
from vmc.storage.checkpoint import save_checkpoint
from vmc.storage.files import locked
from vmc.storage.latents import Latents
from vmc.storage.rollouts import RolloutDataset, check_env_matches, split_validation

# Terminations weigh as if they were this share of the steps, but not more than as in the original (`restart_factor` of
# hardmaru's `doomrnn/doomrnn.py`): what they weigh more, the mixture has less of the clipped gradient.
_TERMINATION_SHARE, _MAX_TERMINATION_WEIGHT = 0.03, 10.0
# The largest gradient norm.
_GRADIENT_CLIP = 1.0
# Batches whose episodes are sorted by length among themselves: padding is 14% of CarRacing's steps, in all sorted 1%.
_SORTED_TOGETHER = 8


class DynamicsTraining:
    """M's side of `fit`: units are batches of whole episodes, trained window by window."""

    unit = "batches"

    def __init__(self, settings: TrainMDRNNSettings, latents: Latents, device: torch.device) -> None:
        self._settings = settings
        self._device = device
        self._training, self._validation = latents.training(), latents.validation()
        self._sequences = LatentSequences(latents, settings.sample_latents, device, settings.no_reward_limit)
        self.module = _new_module(settings, latents.means.shape[1], latents.actions.shape[1]).to(device)
        self.module.silence(self._sequences.silent)
        self._reward_scale = _reward_scale(latents)
        self.module.reward_scale.fill_(self._reward_scale)
        self._termination_rate = _termination_rate(latents, settings.no_reward_limit)
        weight = _TERMINATION_SHARE / self._termination_rate
        self._termination_weight = float(np.clip(weight, 1.0, _MAX_TERMINATION_WEIGHT))
        self.module.termination_weight.fill_(self._termination_weight)
        self._expect_the_usual_terminations()
        self.optimizer = torch.optim.Adam(self.module.parameters(), settings.learning_rate)

    def num_units(self) -> int:
        return ceil(len(self._training) / self._settings.batch_size)

    def batches(self, epoch: int, first_unit: int) -> Iterator[SequenceBatch]:
        for unit in range(first_unit, self.num_units()):
            yield self.batch(epoch, unit)

    def batch(self, epoch: int, unit: int) -> SequenceBatch:
        """The epoch's `unit`-th batch of episodes, with z drawn for it."""
        generator = torch_stream(self._settings.seed, "mdrnn/latents", epoch, unit, device=self._device.type)
        return self._sequences.batch(self._units(epoch)[unit], generator)

    def _units(self, epoch: int) -> list[npt.NDArray[np.int64]]:
        """The episodes of each batch of an epoch, at random but for this: a batch's are about equally long.

        Drawn freely, two fifths of CarRacing's steps were padding, and few episodes reached a batch's last windows.
        """
        generator, size = stream(self._settings.seed, "mdrnn/order", epoch), self._settings.batch_size
        order = generator.permutation(self._training)
        groups = np.split(order, range(size * _SORTED_TOGETHER, len(order), size * _SORTED_TOGETHER))
        order = np.concatenate([group[np.argsort(self._sequences.lengths[group], kind="stable")] for group in groups])
        units = np.split(order, range(size, len(order), size))
        return [units[position] for position in generator.permutation(len(units))]

    @torch.no_grad()
    def begin_phase(self, before: Mapping[str, Any]) -> None:
        """Measures rewards in the new data's standard deviation, and weighs terminations by their new rarity.

        The heads are moved, so they predict what they did. V may have silenced other dimensions than before.

        Drivers earn other rewards than random policies: in the old units their errors would swamp the mixture's loss.
        """
        ratio = self.module.reward_scale / self._reward_scale
        self.module.reward.weight.mul_(ratio)
        self.module.reward.bias.mul_(ratio)
        self.module.silence(self._sequences.silent)
        self.module.reward_scale.fill_(self._reward_scale)
        self.module.termination.bias.add_((self._termination_weight / self.module.termination_weight).log())
        self.module.termination_weight.fill_(self._termination_weight)
        if before.get("no_reward_limit") != self._settings.no_reward_limit:
            self._expect_the_usual_terminations()

    @torch.no_grad()
    def _expect_the_usual_terminations(self) -> None:
        """The head begins by saying how frequent terminations are, whatever it sees.

        It would need an epoch to find that out, or longer where it has learnt that there are none, and its loss leaves
        the mixture nothing of the clipped gradient for so long.
        """
        rate = torch.tensor(self._termination_rate)
        self.module.termination.weight.zero_()
        self.module.termination.bias.fill_(torch.logit(rate, eps=1e-6) + log(self._termination_weight))

    def kept_weights(self) -> dict[str, Tensor]:
        """M's weights as they are."""
        return self.module.state_dict()

    def validate(self) -> dict[str, float]:
        """Loss and its parts over the validation episodes, always with the same draws of z."""
        generator = torch_stream(self._settings.seed, "mdrnn/validation", device=self._device.type)
        sums: dict[str, float] = {}
        steps = 0.0
        sorted_by_length = self._validation[np.argsort(self._sequences.lengths[self._validation], kind="stable")]
        for episodes in np.array_split(sorted_by_length, ceil(len(sorted_by_length) / self._settings.batch_size)):
            batch = self._sequences.batch(episodes, generator)
            figures, _ = self._loss(batch, slice(None), self.module.initial_hidden(len(episodes)))
            weight = batch.mask.sum().item()
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value.item() * weight
            steps += weight
        return {name: total / steps for name, total in sums.items()}

    def train_batch(self, batch: SequenceBatch) -> dict[str, float]:
        """Steps of Adam, one a window; returns the windows' mean losses."""
        hidden = self.module.initial_hidden(len(batch.mask))
        sums: dict[str, float] = {}
        weights = 0.0
        for first in range(0, batch.mask.shape[1], self._settings.window):
            window = slice(first, first + self._settings.window)
            figures, hidden = self._loss(batch, window, hidden)
            self.optimizer.zero_grad(set_to_none=True)
            figures["loss"].backward()
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), _GRADIENT_CLIP)
            self.optimizer.step()
            hidden = Hidden(hidden.h.detach(), hidden.c.detach())
            weight = batch.mask[:, window].sum().item()
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + value.item() * weight
            weights += weight
        return {name: total / weights for name, total in sums.items()}

    def _loss(self, batch: SequenceBatch, window: slice, hidden: Hidden) -> tuple[dict[str, Tensor], Hidden]:
        """The losses of a window, each a mean over its real steps, and the state after it."""
        mask = batch.mask[:, window]
        actions = batch.actions[:, window]
        first = window.start or 0
        latents = batch.latents[:, first : first + actions.shape[1]]
        targets = batch.latents[:, first + 1 : first + 1 + actions.shape[1]]
        prediction, hidden = self.module(latents, actions, hidden)
        active = self._sequences.active
        nll = negative_log_likelihood(of_dimensions(prediction.mixture, active), targets[..., active])
        # Rewards like CarRacing's -100 would own a squared error: beyond ten standard deviations it is linear.
        scaled = (prediction.reward - batch.rewards[:, window]) / self.module.reward_scale
        reward = 2 * F.huber_loss(scaled, torch.zeros_like(scaled), delta=10.0, reduction="none")
        termination = F.binary_cross_entropy_with_logits(
            prediction.termination_logit,
            batch.terminations[:, window],
            pos_weight=self.module.termination_weight,
            reduction="none",
        )
        nll, reward, termination = ((part * mask).sum() / mask.sum() for part in (nll, reward, termination))
        total = nll + reward + termination
        figures = {
            "loss": total,
            "nll_per_dimension": nll,
            "reward_loss": reward,
            "termination_loss": termination,
        }
        return figures, hidden


def train_mdrnn(
    settings: TrainMDRNNSettings, data: Path, run: Path, device_name: str, tensorboard: bool = False
) -> tuple[TrainState, dict[str, float]]:
    """Encodes the data where that is needed, then trains M, or goes on where it was stopped.

    Beside M it keeps moments for dreams to begin at, so that they need no data.

    Returns:
        The counters, and the report on validation episodes (also in `report.json`).

    Raises:
        VmcError: V missing or unfinished, no data, no such environment, settings that changed, a folder that
            cannot be written.
    """
    device = choose_device(device_name)
    require_finished(vae_folder(run), TRAIN_VAE)
    dataset = RolloutDataset(data)
    check_env_matches(dataset, settings.env, PREPROCESSINGS)
    action_space = real_action_space(settings.env)
    split_validation(dataset.episodes)
    folder = dynamics_folder(run)
    with locked(folder):
        latents, vae = ensure_latents(run, dataset, device)
        trainable = DynamicsTraining(settings, latents, device)
        inputs = {"data": dataset.fingerprint(), "vae": vae.sha256}
        how = {"sample_latents": settings.sample_latents, "no_reward_limit": settings.no_reward_limit}
        info = model_info(trainable.module.settings) | {"inputs": inputs, "vae": vae.sha256, **how}
        plan = FitConfig("M", TRAIN_MDRNN, settings.epochs, settings.patience, settings, inputs, info, tensorboard)
        with one_thread(device):
            counters = fit(trainable, folder, plan)
        report = report_dynamics(run, latents, settings.seed, device)
        keep_starts(run, latents, action_space, settings.seed, device)
    return counters, report


def keep_untrained(settings: TrainMDRNNSettings, run: Path) -> None:
    """Keeps an M for the run's V as it is before any training, without data: it can drive C, but not dream.

    Raises:
        VmcError: V missing or corrupt, no such environment, a folder that cannot be written.
    """
    vae, checkpoint = load_vae(run)
    action_size = real_action_space(settings.env).shape[0]
    module = _new_module(settings, vae.settings.latent_size, action_size)
    how = {"sample_latents": settings.sample_latents, "no_reward_limit": None}
    info = model_info(module.settings) | {"vae": checkpoint.sha256, **how}
    weights = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    save_checkpoint(dynamics_folder(run), "best", info, weights)


def _new_module(settings: TrainMDRNNSettings, latent_size: int, action_size: int) -> MDNRNN:
    hidden_size = get_task(settings.env).hidden_size
    with seeded_initialisation(settings.seed):
        return MDNRNN(
            DynamicsSettings(
                latent_size, action_size, hidden_size, backbone=settings.dynamics, mixture=settings.mixture
            )
        )


def _reward_scale(latents: Latents) -> float:
    """The standard deviation of the rewards; where they are all the same, their size, or 1."""
    rewards = _training_rewards(latents)
    spread, size = float(rewards.std()), float(np.abs(rewards).mean())
    # A spread that is only rounding would make the one reward there is look like millions.
    return spread if spread > 1e-6 * size else size or 1.0


def _training_rewards(latents: Latents) -> npt.NDArray[np.float32]:
    return np.asarray(latents.rewards[_training_steps(latents)])


def _training_steps(latents: Latents) -> npt.NDArray[np.bool_]:
    is_training = np.zeros(len(latents.lengths), bool)
    is_training[latents.training()] = True
    return np.repeat(is_training, latents.lengths)


def _termination_rate(latents: Latents, no_reward_limit: int | None) -> float:
    """The share of the steps at which a dream shall end, or as if there were one where there is none."""
    over = latents.termination_labels(no_reward_limit)[_training_steps(latents)]
    return float(max(over.sum(), 1) / len(over))
