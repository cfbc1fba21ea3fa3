"""What a machine does in a second: the figures that an estimate is made from."""

from __future__ import annotations

from dataclasses import dataclass

from vmc.bench.models import ACTION_SIZE, LATENT_SIZE

CARRACING_LATENT_BYTES = 4.0 * (2 * LATENT_SIZE + ACTION_SIZE + 1)
PICTURE_BYTES = 64.0 * 64 * 3


@dataclass(frozen=True)
class Rates:
    """This machine's rates, each measured for a few seconds.

    Attributes:
        collect, drive: environment steps/s on all workers, trajectory, and with V, M and C in the loop.
        vae: frames/s in training. mdrnn: steps/s in training. dream: steps/s on all workers.
        frame_bytes, memory_bytes: of a frame, on the disk and in memory.
        latent_bytes: of a frame's latent, action and reward.
        random_length: steps of an episode of a policy without a model; None takes the time limit.
    """

    collect: float
    drive: float
    vae: float
    mdrnn: float
    dream: float
    frame_bytes: float
    memory_bytes: float = PICTURE_BYTES
    latent_bytes: float = CARRACING_LATENT_BYTES
    random_length: float | None = None
