"""V's decoder for one latent on one CPU thread, by its exported graph."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from vmc.models.export import export_graph
from vmc.models.graph import make_session
from vmc.models.vision.contract import Vision

# PyTorch's exporter is of one thread; the pages of `vmc play` have one each.
_EXPORTING = Lock()


class Decoder:
    """A latent to its frame: ONNX Runtime takes a quarter of eager PyTorch's time for one picture.

    Args:
        vae: on the CPU.
    """

    def __init__(self, vae: Vision) -> None:
        example = torch.zeros(vae.settings.latent_size)
        with _EXPORTING:
            graph = export_graph(_FrameDecoder(vae), (example,), ["latent"], ["frame"])
        self._session = make_session(graph, {name: part.numpy() for name, part in vae.state_dict().items()})

    def decode(self, latent: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """z (Z,) to V's frame of it, uint8 (64, 64, 3) or float32 (D,)."""
        (frame,) = self._session.run(None, {"latent": latent})
        return frame  # type: ignore[no-any-return]


class _FrameDecoder(nn.Module):
    def __init__(self, model: Vision) -> None:
        super().__init__()
        self.model = model

    def forward(self, latent: Tensor) -> Tensor:
        return self.model.to_frames(self.model.decode(latent[None]))[0]
