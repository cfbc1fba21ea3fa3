"""What the best V keeps of validation frames, as a report beside its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vmc.models.checkpoints import vae_folder
from vmc.models.loading import load_vae
from vmc.models.vae import VisionModel, to_frames
from vmc.report.grid import save_grid
from vmc.storage.files import write_json

_GRID_FRAMES = 12


@torch.inference_mode()
def report_reconstructions(run: Path, kind: str, frames: npt.NDArray[np.generic]) -> Path:
    """Writes `reconstructions.png` for pictures, `reconstructions.json` for vectors; returns its path."""
    vae, _ = load_vae(run)
    return _REPORTS[kind](vae, vae_folder(run), frames)


def _grid(vae: VisionModel, folder: Path, frames: npt.NDArray[np.generic]) -> Path:
    """Frames above what V makes of them."""
    chosen = frames[np.linspace(0, len(frames) - 1, _GRID_FRAMES).astype(int)].astype(np.uint8, copy=False)
    mean, _ = vae.encode(vae.to_input(torch.from_numpy(chosen)))
    path = folder / "reconstructions.png"
    save_grid(path, [chosen, to_frames(vae.decode(mean)).numpy()])
    return path


def _shares(vae: VisionModel, folder: Path, frames: npt.NDArray[np.generic]) -> Path:
    """For each dimension of the standardised vectors: what share of the variance V keeps (None: it does not vary)."""
    inputs = vae.to_input(torch.from_numpy(frames))
    errors = (inputs - vae.decode(vae.encode(inputs)[0])).square().mean(dim=0)
    variances = inputs.var(dim=0, unbiased=False)
    pairs = zip(errors.tolist(), variances.tolist(), strict=True)
    shares = [1 - error / variance if variance else None for error, variance in pairs]
    path = folder / "reconstructions.json"
    write_json(path, {"explained_variance": shares, "latent_size": vae.settings.latent_size})
    return path


_REPORTS: dict[str, Callable[[VisionModel, Path, npt.NDArray[np.generic]], Path]] = {
    "conv": _grid,
    "dense": _shares,
    "identity": _shares,
}
