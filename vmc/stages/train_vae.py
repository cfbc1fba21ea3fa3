"""Stage `train-vae`: V on the frames of a data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.envs import PREPROCESSING, get_task
from vmc.models.checkpoints import TRAIN_VAE, model_info, vae_folder
from vmc.models.loading import load_vae
from vmc.models.vae import ConvVAE, VAELoss, VAESettings, to_frames, to_input, vae_loss
from vmc.report.grid import save_grid
from vmc.seeding import seeded_initialisation, torch_stream
from vmc.stages.device import choose_device
from vmc.stages.settings import TrainVAESettings
from vmc.stages.training import Counters, Plan, fit
from vmc.storage.files import locked
from vmc.storage.frames import (
    FrameBatches,
    FramesInMemory,
    FramesStreamed,
    frame_bytes,
    read_all_frames,
    sample_frames,
)
from vmc.storage.rollouts import RolloutDataset, check_env_matches, split_held_out

_VALIDATION_FRAMES = 2000
_VALIDATION_BATCH = 250
_GRID_FRAMES = 12


class VAETraining:
    """V's side of `fit`: units are batches of frames."""

    unit = "batches"

    def __init__(
        self,
        settings: TrainVAESettings,
        batches: FrameBatches,
        held_out: npt.NDArray[np.uint8],
        device: torch.device,
    ) -> None:
        self._settings = settings
        self._batches = batches
        self._held_out = held_out
        self._device = device
        with seeded_initialisation(settings.seed):
            vae = ConvVAE(VAESettings(get_task(settings.env).latent_size))
        self.module = vae.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(vae.parameters(), settings.learning_rate)
        self._forward = torch.compile(vae) if device.type == "cuda" else vae
        self._resident: Tensor | None = None
        if device.type == "cuda" and isinstance(batches, FramesInMemory):
            self._resident = torch.from_numpy(batches.frames).to(device)

    def num_units(self) -> int:
        return self._batches.num_batches()

    def batches(self, epoch: int, first_unit: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Frames (B, 64, 64, 3), uint8, and noise (B, Z), both on the device."""
        for unit, frames in enumerate(self._frames(epoch, first_unit), first_unit):
            yield frames, self._noise(len(frames), epoch, unit)

    def train_batch(self, batch: tuple[Tensor, Tensor]) -> dict[str, float]:
        frames, noise = batch
        loss = self._loss(to_input(frames), noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        self.optimizer.step()
        return _figures(loss)

    def begin_phase(self) -> None:
        """Nothing in V depends on the data but its weights."""

    def validate(self) -> dict[str, float]:
        """Loss at the posterior's mean, over held-out frames."""
        sums = {"loss": 0.0, "reconstruction": 0.0, "kl": 0.0}
        for first in range(0, len(self._held_out), _VALIDATION_BATCH):
            frames = torch.from_numpy(self._held_out[first : first + _VALIDATION_BATCH]).to(self._device)
            noise = torch.zeros(len(frames), self.module.settings.latent_size, device=self._device)
            for name, value in _figures(self._loss(to_input(frames), noise)).items():
                sums[name] += value * len(frames)
        return {name: total / len(self._held_out) for name, total in sums.items()}

    def _loss(self, images: Tensor, noise: Tensor) -> VAELoss:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            reconstruction, mean, log_variance = self._forward(images, noise)
        return vae_loss(images, reconstruction, mean, log_variance, self._settings.kl_floor)

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
    settings: TrainVAESettings, data: Path, run: Path, device_name: str, tensorboard: bool = False
) -> Counters:
    """Trains V, or goes on where it was stopped; writes `best`, `latest`, metrics and `reconstructions.png`.

    Raises:
        VmcError: no data, data of another environment, settings that changed, a folder that cannot be written.
    """
    device = choose_device(device_name)
    dataset = RolloutDataset(data)
    check_env_matches(dataset, settings.env, PREPROCESSING)
    training, held_out = split_held_out(dataset.episodes)
    folder = vae_folder(run)
    with locked(folder):
        batches: FrameBatches
        if frame_bytes(training) <= settings.memory_gib * 2**30:
            batches = FramesInMemory(read_all_frames(dataset, training), settings.batch_size, settings.seed)
        else:
            buffer_bytes = int(settings.memory_gib * 2**30)
            batches = FramesStreamed(dataset, training, settings.batch_size, settings.seed, buffer_bytes)
        held_out_frames = sample_frames(dataset, held_out, _VALIDATION_FRAMES)
        trainable = VAETraining(settings, batches, held_out_frames, device)
        inputs = {"data": dataset.fingerprint()}
        info = model_info(trainable.module.settings) | {"env": settings.env, "inputs": inputs}
        plan = Plan("V", TRAIN_VAE, settings.epochs, settings.patience, settings, inputs, info, tensorboard)
        counters = fit(trainable, folder, plan)
        _save_reconstructions(run, held_out_frames)
    return counters


@torch.inference_mode()
def _save_reconstructions(run: Path, frames: npt.NDArray[np.uint8]) -> None:
    """Held-out frames above what the best V makes of them."""
    vae, _ = load_vae(run)
    chosen = frames[np.linspace(0, len(frames) - 1, _GRID_FRAMES).astype(int)]
    mean, _ = vae.encode(to_input(torch.from_numpy(chosen)))
    save_grid(vae_folder(run) / "reconstructions.png", [chosen, to_frames(vae.decode(mean)).numpy()])


def _figures(loss: VAELoss) -> dict[str, float]:
    return {"loss": loss.total.item(), "reconstruction": loss.reconstruction.item(), "kl": loss.kl.item()}
