"""V for pictures: the convolutional VAE (paper, appendix A.1; hardmaru's `carracing/vae/vae.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmc.envs import PREPROCESSING
from vmc.models.vision.contract import Vision
from vmc.report.grid import save_grid

_ENCODER_CHANNELS = (3, 32, 64, 128, 256)
_DECODER_CHANNELS = (1024, 128, 64, 32, 3)
_DECODER_KERNELS = (5, 5, 6, 6)
_FEATURES = 2 * 2 * 256  # what four stride-2 convolutions leave of 64x64
_REPORTED_FRAMES = 8


@dataclass(frozen=True)
class ConvSettings:
    """V's shape.

    Attributes:
        latent_size: Z; 32 in the paper (64 for Doom).
    """

    latent_size: int = 32


def to_input(frames: Tensor) -> Tensor:
    """uint8 (B, 64, 64, 3) to float32 (B, 3, 64, 64) in [0, 1]; the result is channels-last in memory."""
    return frames.permute(0, 3, 1, 2).float().div_(255)


def to_frames(images: Tensor) -> Tensor:
    """The inverse: (B, 3, 64, 64) in [0, 1] to uint8 (B, 64, 64, 3)."""
    return images.permute(0, 2, 3, 1).mul(255).round_().clamp_(0, 255).to(torch.uint8)


def _grown(pixel: Tensor, deconv: nn.ConvTranspose2d) -> Tensor:
    """`deconv` of a single pixel, (B, I) to (B, O, K, K), as one product: four times as fast on a CPU."""
    _, channels, size, _ = deconv.weight.shape
    values = F.linear(pixel, deconv.weight.permute(2, 3, 1, 0).flatten(0, 2))
    images = values.view(-1, size, size, channels).permute(0, 3, 1, 2)  # channels-last in memory
    assert deconv.bias is not None
    return images + deconv.bias[:, None, None]


def _doubled(images: Tensor, deconv: nn.ConvTranspose2d) -> Tensor:
    """`deconv` with stride 2 and an even kernel as a convolution to the four pixels that stand for one.

    On a CPU it is 1.4 times as fast where there are few output channels (Shi et al., 2016, "Real-time single image
    super-resolution").
    """
    half = deconv.kernel_size[0] // 2
    # Taps (half, parity) of each axis, the far ones first; then the output channel with its four parities.
    weight = deconv.weight.unflatten(3, (half, 2)).unflatten(2, (half, 2)).flip(2, 4)
    weight = weight.permute(1, 3, 5, 0, 2, 4).flatten(0, 2)
    assert deconv.bias is not None
    doubled = F.pixel_shuffle(F.conv2d(images, weight, padding=half - 1), 2)
    return doubled + deconv.bias[:, None, None]


class ConvVAE(Vision):
    """Compresses a frame into a diagonal Gaussian over Z latents; 4,348,547 parameters for Z = 32."""

    Settings = ConvSettings
    sees = PREPROCESSING

    def __init__(self, settings: ConvSettings = ConvSettings()) -> None:
        super().__init__(settings)
        pairs = pairwise(_ENCODER_CHANNELS)
        self.encoder = nn.ModuleList(nn.Conv2d(i, o, kernel_size=4, stride=2) for i, o in pairs)
        self.mean = nn.Linear(_FEATURES, settings.latent_size)
        self.log_variance = nn.Linear(_FEATURES, settings.latent_size)
        self.expand = nn.Linear(settings.latent_size, _DECODER_CHANNELS[0])
        shapes = zip(_DECODER_CHANNELS, _DECODER_CHANNELS[1:], _DECODER_KERNELS, strict=False)
        self.decoder = nn.ModuleList(nn.ConvTranspose2d(i, o, kernel_size=k, stride=2) for i, o, k in shapes)

    @classmethod
    def settings_for(cls, frame_shape: tuple[int, ...], latent_size: int) -> ConvSettings:
        return ConvSettings(latent_size)

    def to_input(self, frames: Tensor) -> Tensor:
        """uint8 (B, 64, 64, 3) to images."""
        return to_input(frames)

    def to_frames(self, inputs: Tensor) -> Tensor:
        """Images to uint8 (B, 64, 64, 3)."""
        return to_frames(inputs)

    def posterior(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, 64, 64) in [0, 1] to the posterior's mean and log-variance, each (B, Z)."""
        for conv in self.encoder:
            inputs = F.relu(conv(inputs))
        features = inputs.flatten(1)
        return self.mean(features), self.log_variance(features)

    def encode_frame(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """`encode` with less to do: the division by 255 is in the first weights, both heads are one product."""
        first, *rest = self.encoder
        assert isinstance(first, nn.Conv2d)
        values = frame[None].permute(0, 3, 1, 2).float()
        values = F.relu(F.conv2d(values, first.weight / 255, first.bias, stride=2))
        for conv in rest:
            values = F.relu(conv(values))
        weight = torch.cat([self.mean.weight, self.log_variance.weight])
        heads = F.linear(values.flatten(1), weight, torch.cat([self.mean.bias, self.log_variance.bias]))
        mean, log_variance = self.masked(*heads.chunk(2, dim=1))
        return mean[0], log_variance[0]

    def decode(self, latents: Tensor) -> Tensor:
        """(B, Z) to images (B, 3, 64, 64) in [0, 1]."""
        first, *hidden, last = self.decoder
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(last, nn.ConvTranspose2d)
        images = F.relu(_grown(self.expand(latents), first))
        for deconv in hidden:
            images = F.relu(deconv(images))
        return torch.sigmoid(_doubled(images, last))

    @torch.inference_mode()
    def report(self, folder: Path, frames: npt.NDArray[Any]) -> Path:
        """`reconstructions.png`: some frames above what V makes of them."""
        chosen = frames[np.linspace(0, len(frames) - 1, _REPORTED_FRAMES).astype(int)]
        mean, _ = self.encode(self.to_input(torch.from_numpy(chosen)))
        path = folder / "reconstructions.png"
        save_grid(path, {"environment": chosen, "V's reconstruction": to_frames(self.decode(mean)).numpy()})
        return path
