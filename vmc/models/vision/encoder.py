"""V's encoder for one frame on one CPU thread, by its exported graph. No torch: worker processes use this.

At batch 1 a framework's overhead rivals the arithmetic: ONNX Runtime runs the four convolutions in a sixth of eager
PyTorch's time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vmc.models.graph import make_session
from vmc.storage.checkpoint import Checkpoint

Array = npt.NDArray[np.float32]
# The name of the graph in V's checkpoint.
ENCODER = "encoder"
_OUTPUTS = ("mean", "log_variance")


class Encoder:
    """A frame to its latent.

    Args:
        vae: V's checkpoint.
    """

    def __init__(self, vae: Checkpoint) -> None:
        self._session = make_session(vae.graphs[ENCODER], vae.weights)

    def encode(self, frame: npt.NDArray[Any]) -> tuple[Array, Array]:
        """A frame, as `vmc.envs.make_env` gives it, to the posterior's mean and log-variance, each (Z,)."""
        mean, log_variance = self._session.run(_OUTPUTS, {"frame": frame})
        return mean, log_variance
