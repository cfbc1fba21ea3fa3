"""V and M trained together (`train-mdrnn --joint`): what M has to predict shapes what V keeps, as in Dreamer.

The loss is a sequential evidence lower bound (Chung et al., 2015): V's reconstruction of each frame, and the KL of V's
posterior from M's prediction of it in place of that from N(0, I); beside it M's reward and termination losses. V does
not pay for less than its usual floor of nats (free bits), M learns to predict all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import e, log, pi
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vmc.errors import VmcError
from vmc.models.checkpoints import TRAIN_MDRNN, dynamics_folder, joint_folder, vae_folder
from vmc.models.dynamics.contract import SequenceBatch, SequenceStatistics, WorldModel
from vmc.models.dynamics.state import State
from vmc.models.loading import dynamics_graphs, load_vae
from vmc.models.vision.contract import KL_FLOOR, Vision, kl_divergence, sample_latent
from vmc.seeding import torch_stream
from vmc.stages.encode import ensure_latents
from vmc.stages.episode_batches import GRADIENT_CLIP, EpisodeOrder, LatentSequences, Means, statistics_of
from vmc.stages.new_dynamics import dynamics_facts, new_dynamics, widths
from vmc.stages.settings import TrainMDRNNSettings
from vmc.stages.training import LR_SHARE, FitConfig, TrainState, fit
from vmc.storage.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vmc.storage.frames import sample_frames
from vmc.storage.latents import Latents
from vmc.storage.rollouts import RolloutDataset, split_validation

# In the module's arrays.
_V, _M = "vae", "dynamics"
# V is trained already; at M's learning rate, an optimiser without a memory of its gradients would undo that.
_V_SHARE = 0.1
_REPORTED = 250  # frames


class JointBatch(NamedTuple):
    """Whole episodes side by side.

    Attributes:
        sequences: their actions, rewards and labels; its latents are those of the V from before the training.
        frames: as stored, (B, T + 1, ...); padding repeats the last one.
        noise: N(0, 1) for z, (B, T + 1, Z).
    """

    sequences: SequenceBatch
    frames: Tensor
    noise: Tensor

    def window(self, first: int, last: int) -> JointBatch:
        """The steps from `first` up to `last`, or to the end, with the frames beside them."""
        sequences = self.sequences.window(first, last)
        frames = slice(first, first + sequences.mask.shape[1] + 1)
        return JointBatch(sequences, self.frames[:, frames], self.noise[:, frames])


class JointTraining:
    """A `Trainable`: units are batches of whole episodes, trained window by window.

    Args:
        latents: of the data, by V as it is now; their rewards, labels and lengths are used.
        statistics: of the same.
    """

    unit = "batches"

    def __init__(
        self,
        settings: TrainMDRNNSettings,
        dataset: RolloutDataset,
        latents: Latents,
        statistics: SequenceStatistics,
        vae: Vision,
        dynamics: WorldModel,
        device: torch.device,
    ) -> None:
        self._settings, self._dataset, self._device = settings, dataset, device
        self._sequences = LatentSequences(latents, False, device, settings.no_reward_limit)
        self._order = EpisodeOrder(latents, settings.batch_size, settings.seed)
        self.module = nn.ModuleDict({_V: vae.requires_grad_(True), _M: dynamics}).to(device)
        self._vae, self._dynamics, self._statistics = vae, dynamics, statistics
        dynamics.prepare(statistics)
        groups: list[dict[str, Any]] = [
            {"params": vae.parameters(), LR_SHARE: _V_SHARE},
            {"params": dynamics.parameters()},
        ]
        self.optimizer = torch.optim.Adam(groups, settings.learning_rate)

    def num_units(self) -> int:
        return self._order.num_units

    def batches(self, epoch: int, first_unit: int) -> Iterator[JointBatch]:
        units = self._order.units(epoch)
        for unit in range(first_unit, self.num_units()):
            name = self._settings.seed, "joint/latents", epoch, unit
            yield self._batch(units[unit], torch_stream(*name, device=self._device.type), is_training=True)

    def begin_phase(self, before: Mapping[str, Any]) -> None:
        relabelled = before["config"].get("no_reward_limit") != self._settings.no_reward_limit
        self._dynamics.adapt(self._statistics, relabelled)

    def kept_weights(self) -> dict[str, Tensor]:
        """V's and M's weights as they are."""
        return self.module.state_dict()

    def train_batch(self, batch: JointBatch) -> dict[str, float]:
        means, state = Means(), None
        for first in range(0, batch.frames.shape[1] - 1, self._settings.window):
            window = batch.window(first, first + self._settings.window)
            state, losses = self.losses(window, state, is_first=first == 0)
            self.optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            size = int(self._dynamics.latent_mask.sum())
            torch.nn.utils.clip_grad_norm_(self._dynamics.parameters(), GRADIENT_CLIP * size)
            self.optimizer.step()
            state = state.detach()
            means.add(losses, window.sequences)
        return means.values()

    def validate(self) -> dict[str, float]:
        """The losses on the validation episodes, always with the same draws of z."""
        generator = torch_stream(self._settings.seed, "joint/validation", device=self._device.type)
        means = Means()
        for episodes in self._order.validation():
            batch, state = self._batch(episodes, generator, is_training=False), None
            for first in range(0, batch.frames.shape[1] - 1, self._settings.window):
                window = batch.window(first, first + self._settings.window)
                state, losses = self.losses(window, state, is_first=first == 0)
                means.add(losses, window.sequences)
        return means.values()

    def _batch(self, episodes: Any, generator: torch.Generator, is_training: bool) -> JointBatch:
        sequences = self._sequences.batch(episodes, generator)
        count, steps = sequences.mask.shape
        if is_training:
            sequences = replace(sequences, noise=self._dynamics.draw_training_noise(count, steps, generator))
        stored = [self._dataset.frames(self._dataset.episodes[episode]) for episode in episodes]
        padded = [np.concatenate([each, each[-1:].repeat(steps + 1 - len(each), axis=0)]) for each in stored]
        noise = torch.randn(sequences.latents.shape, generator=generator, device=self._device)
        return JointBatch(sequences, torch.from_numpy(np.stack(padded)).to(self._device), noise)

    def losses(self, batch: JointBatch, state: State | None, is_first: bool) -> tuple[State, dict[str, Tensor]]:
        """The losses of a window, `loss` among them, in nats a step; and M's state after it.

        Args:
            state: at the window's first frame, which belongs to the window before, unless that `is_first`.
        """
        vae, sequences, size = self._vae, batch.sequences, self._dynamics.latent_mask.sum()
        inputs = vae.to_input(batch.frames.flatten(0, 1))
        mean, log_variance = (part.unflatten(0, batch.noise.shape[:2]) for part in vae.encode(inputs))
        z = sample_latent(mean, log_variance, batch.noise)
        errors = (vae.decode(z.flatten(0, 1)) - inputs).square().flatten(1).sum(dim=1).unflatten(0, z.shape[:2])
        reconstruction = sequences.mean(errors[:, 1:])
        state = self._dynamics.initial(z[:, 0].detach()) if state is None else state
        predicted, after = self._dynamics.loss(replace(sequences, latents=z.detach()), state)
        for_v = self._losses_for_v(replace(sequences, latents=z), state)
        spread = torch.where(self._dynamics.latent_mask, log_variance[:, 1:], 0).sum(dim=2)
        entropy = (sequences.mean(spread) + size * log(2 * pi * e)) / 2
        floor = KL_FLOOR * vae.settings.latent_size
        kl = for_v.pop("nll_per_dimension") * size - entropy
        total = vae.error_weight * reconstruction + kl.clamp(min=floor) + size * sum(for_v.values())
        total = total + size * predicted["loss"]
        if is_first:  # nothing predicts an episode's first frame but N(0, I)
            first = kl_divergence(mean[:, 0], log_variance[:, 0]).sum(dim=1)
            total = total + (vae.error_weight * errors[:, 0] + first.clamp(min=floor)).mean() / z.shape[1]
        losses = {name: value for name, value in predicted.items() if name != "loss"}
        return after, {"loss": total, "reconstruction": reconstruction, "kl": kl, **losses}

    def _losses_for_v(self, batch: SequenceBatch, state: State) -> dict[str, Tensor]:
        """M's losses with gradients for the latents alone."""
        self._dynamics.requires_grad_(False)
        losses, _ = self._dynamics.loss(batch, state)
        self._dynamics.requires_grad_(True)
        return {name: value for name, value in losses.items() if name not in ("loss", "kl_balance")}


def train_jointly(
    settings: TrainMDRNNSettings, dataset: RolloutDataset, run: Path, device: torch.device, loggers: Sequence[str]
) -> TrainState:
    """Trains V and M together from the run's V on, or goes on; the best of both are the run's own then.

    Raises:
        VmcError: a V that has nothing to train, z that is not drawn; as `fit`.
    """
    latents, stored = ensure_latents(run, dataset, device)
    vae, _ = load_vae(run)
    if not list(vae.parameters()):
        raise VmcError(f"V in {run} has nothing to train.", "Leave out --joint, or give `train-vae` --vision dense.")
    if not settings.sample_latents:
        raise VmcError("A joint training draws z from V's posterior.", "Leave out --no-sample-latents, or --joint.")
    dynamics = new_dynamics(settings, *widths(latents))
    statistics = statistics_of(latents, stored.weights["latent_mask"], settings.no_reward_limit)
    inputs = {"data": dataset.fingerprint()}
    graphs = dynamics_graphs(settings.dynamics, new_dynamics(settings, *widths(latents)))
    info = dynamics_facts(settings, dynamics, dataset.action_map)
    trainable = JointTraining(settings, dataset, latents, statistics, vae, dynamics, device)
    kept = {"inputs": inputs}
    config = FitConfig("V and M", TRAIN_MDRNN, settings.epochs, settings.patience, settings, inputs, kept, {}, loggers)
    state = fit(trainable, joint_folder(run), config)
    _publish(run, stored, info, graphs)
    _, validation = split_validation(dataset.episodes)
    load_vae(run)[0].report(vae_folder(run), sample_frames(dataset, validation, _REPORTED))
    return state


def _publish(run: Path, vae: Checkpoint, info: Mapping[str, Any], graphs: Mapping[str, bytes]) -> None:
    """Makes the best V and M the run's own.

    Args:
        vae: the V before this: its facts and its graphs are the new one's, too.
        info, graphs: M's.
    """
    best = load_checkpoint(joint_folder(run), "best", TRAIN_MDRNN)
    told = {name: best.info[name] for name in ("epoch", "metrics", "inputs")}
    weights = {part: _part(part, best) for part in (_V, _M)}
    digest = save_checkpoint(vae_folder(run), "best", {**vae.info, **told}, weights[_V], graphs=vae.graphs)
    save_checkpoint(dynamics_folder(run), "best", {**info, **told, "vae": digest}, weights[_M], graphs=graphs)


def _part(name: str, checkpoint: Checkpoint) -> dict[str, Any]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): array for key, array in checkpoint.weights.items() if key.startswith(prefix)}
