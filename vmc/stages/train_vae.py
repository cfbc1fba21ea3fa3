"""Stage `train-vae`: V on the frames of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from vmc.envs import PREPROCESSINGS, get_task
from vmc.errors import VmcError
from vmc.models.checkpoints import TRAIN_VAE, joint_folder, vae_folder
from vmc.models.loading import load_vae, make_vision, vision_graphs, vision_info
from vmc.models.vision import choose_vision
from vmc.models.vision.contract import VAELoss, Vision, kl_divergence, vae_loss
from vmc.seeding import seeded_initialisation, torch_stream
from vmc.stages.device import choose_device
from vmc.stages.settings import TrainVAESettings
from vmc.stages.training import FitConfig, TrainState, fit
from vmc.storage.checkpoint import has_checkpoint
from vmc.storage.files import locked
from vmc.storage.frames import (
    FrameBatches,
    FramesInMemory,
    FramesStreamed,
    frame_bytes,
    read_all_frames,
    sample_frames,
)
from vmc.storage.rollouts import RolloutDataset, check_env_matches, split_validation

_VALIDATION_FRAMES = 2000
_VALIDATION_BATCH = 250
_MEASURED_FRAMES = 100_000


class VAETraining:
    """V's side of `fit`: units are batches of frames."""

    unit = "batches"

    def __init__(
        self,
        settings: TrainVAESettings,
        vae: Vision,
        batches: FrameBatches,
        validation: npt.NDArray[Any],
        device: torch.device,
    ) -> None:
        self._settings = settings
        self._batches = batches
        self._validation = validation
        self._device = device
        self.module: Vision = vae.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # An optimiser refuses to have nothing to optimise, as the identity has.
        parameters: list[Tensor] = [*vae.parameters()] or [torch.zeros(0)]
        self.optimizer = torch.optim.Adam(parameters, settings.learning_rate)
        self._forward = torch.compile(vae) if device.type == "cuda" else vae
        self._resident: Tensor | None = None
        if device.type == "cuda" and isinstance(batches, FramesInMemory):
            self._resident = torch.from_numpy(batches.frames).to(device)

    def num_units(self) -> int:
        return self._batches.num_batches()

    def batches(self, epoch: int, first_unit: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Frames (B, ...), as stored, and noise (B, Z), both on the device."""
        for unit, frames in enumerate(self._frames(epoch, first_unit), first_unit):
            yield frames, self._noise(len(frames), epoch, unit)

    def train_batch(self, batch: tuple[Tensor, Tensor]) -> dict[str, float]:
        frames, noise = batch
        loss = self._loss(self.module.to_input(frames), noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        self.optimizer.step()
        return _metrics(loss)

    def begin_phase(self, before: Mapping[str, Any]) -> None:
        """Nothing in V depends on the data but its weights."""

    def validate(self) -> dict[str, float]:
        """Loss at the posterior's mean, over validation frames; the number of active latent dimensions."""
        sums = {"loss": 0.0, "reconstruction": 0.0, "kl": 0.0}
        nats = torch.zeros(self.module.settings.latent_size, device=self._device)
        for first in range(0, len(self._validation), _VALIDATION_BATCH):
            frames = torch.from_numpy(self._validation[first : first + _VALIDATION_BATCH]).to(self._device)
            inputs, noise = self.module.to_input(frames), torch.zeros(len(frames), len(nats), device=self._device)
            for name, value in _metrics(self._loss(inputs, noise)).items():
                sums[name] += value * len(frames)
            nats += kl_divergence(*self.module.encode(inputs)).sum(dim=0) / len(self._validation)
        self._active = nats >= self._settings.active_threshold
        means = {name: total / len(self._validation) for name, total in sums.items()}
        return means | {"active_units": float(self._active.sum())}

    def kept_weights(self) -> dict[str, Tensor]:
        """V with its latent mask: the active units (Burda et al. 2016); an untrained V has none, and keeps all.

        A dimension that V does not use is N(0, 1) whatever the frame shows: noise for C and M.
        """
        weights = self.module.state_dict()
        return weights | {"latent_mask": self._active} if self._active.any() else weights

    def _loss(self, inputs: Tensor, noise: Tensor) -> VAELoss:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            reconstruction, mean, log_variance = self._forward(inputs, noise)
        return vae_loss(inputs, reconstruction, mean, log_variance, error_weight=self.module.error_weight)

    def _frames(self, epoch: int, first_unit: int) -> Iterator[Tensor]:
        if self._resident is not None:
            assert isinstance(self._batches, FramesInMemory)
            for indices in self._batches.indices(epoch, first_unit):
                yield self._resident[torch.from_numpy(indices).to(self._device)]
        else:
            for frames in self._batches.epoch(epoch, first_unit):
                yield torch.from_numpy(frames).to(self._device)

    def _noise(self, batch_size: int, epoch: int, unit: int) -> Tensor:
        generator = torch_stream(self._settings.seed, "vae/noise", epoch, unit, device=self._device.type)
        shape = (batch_size, self.module.settings.latent_size)
        return torch.randn(shape, generator=generator, device=self._device)


def train_vae(
    settings: TrainVAESettings, data: Path, run: Path, device_name: str, loggers: Sequence[str] = ()
) -> TrainState:
    """Trains V, or goes on where it was stopped; writes `best`, `latest`, metrics and a report.

    The identity has nothing to train: its centre and spread are measured and kept.

    Raises:
        VmcError: no data, data of another environment or that this kind of V does not see, settings that
            changed, a folder that cannot be written.
    """
    device = choose_device(device_name)
    dataset = RolloutDataset(data)
    check_env_matches(dataset, settings.env, PREPROCESSINGS)
    kind = choose_vision(settings.vision, settings.env, dataset.preprocessing)
    training, validation = split_validation(dataset.episodes)
    folder = vae_folder(run)
    if has_checkpoint(joint_folder(run), "latest"):
        raise VmcError(f"V in {run} was trained with M (--joint): this would undo it.", "Give another --run.")
    with locked(folder):
        batches: FrameBatches
        if frame_bytes(training, dataset.frame_kind) <= settings.memory_gib * 2**30:
            batches = FramesInMemory(read_all_frames(dataset, training), settings.batch_size, settings.seed)
        else:
            buffer_bytes = int(settings.memory_gib * 2**30)
            batches = FramesStreamed(dataset, training, settings.batch_size, settings.seed, buffer_bytes)
        validation_frames = sample_frames(dataset, validation, _VALIDATION_FRAMES)
        with seeded_initialisation(settings.seed):
            vae = make_vision(kind, dataset.frame_kind.shape, get_task(settings.env).latent_size)
        vae.prepare(partial(sample_frames, dataset, training, _MEASURED_FRAMES))
        graphs = vision_graphs(vae, dataset.frame_kind)  # before V moves to a GPU
        trainable = VAETraining(settings, vae, batches, validation_frames, device)
        inputs = {"data": dataset.fingerprint()}
        info = {"env": settings.env, "inputs": inputs, "action_map": dataset.action_map}
        info |= vision_info(kind, vae)
        epochs = settings.epochs if list(vae.parameters()) else 0
        parts = (settings, inputs, info, graphs, loggers)
        state = fit(trainable, folder, FitConfig("V", TRAIN_VAE, epochs, settings.patience, *parts))
        load_vae(run)[0].report(folder, validation_frames)
    return state


def _metrics(loss: VAELoss) -> dict[str, float]:
    return {"loss": loss.total.item(), "reconstruction": loss.reconstruction.item(), "kl": loss.kl.item()}
