"""The panels of a film and of `vmc play`: the environment, what V keeps of it, and M's dream."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from vmc.episode import Frame
from vmc.errors import VmcError
from vmc.models.vision.contract import Vision
from vmc.models.vision.decoder import Decoder
from vmc.report.lines import STEPS, draw_lines
from vmc.report.panels import Picture

ENVIRONMENT, RECONSTRUCTION, DREAM = "environment", "V's reconstruction", "M's dream"


class Panels(Protocol):
    """Draws latents, and frames where the environment has no picture."""

    def show(self, latents: Mapping[str, Tensor], frame: Frame | None = None, again: bool = False) -> None:
        """Goes on by one step.

        Args:
            latents: (Z,), by the panel's name.
            frame: the real one, where there is one.
            again: in place of the step before.
        """
        ...

    def draw(self) -> dict[str, Picture]:
        """A picture of each of the latents that were shown last."""
        ...

    def draw_frame(self, frame: Frame) -> Picture:
        """A picture of the real frame that was shown last."""
        ...


def make_panels(vae: Vision) -> Panels:
    """Those for V's kind of frames."""
    return _Pictures(vae) if vae.decodes_pictures else _Lines(vae)


def draw_environment(env: gym.Env[Any, Any], frame: Frame, panels: Panels) -> Picture:
    """The environment's own picture, if it renders one, else that of the frame."""
    return rendered(env) if env.render_mode == "rgb_array" else panels.draw_frame(frame)


def rendered(env: gym.Env[Any, Any]) -> Picture:
    """What the environment renders.

    Raises:
        VmcError: it is no picture.
    """
    picture = np.asarray(env.render())
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        found = f"an array of shape {picture.shape} and type {picture.dtype}"
        raise VmcError(f"The environment renders {found}, not uint8 (height, width, 3).", "Correct its `render`.")
    return np.ascontiguousarray(picture)


class _Pictures:
    def __init__(self, vae: Vision) -> None:
        self._decoder = Decoder(vae)
        self._latents: dict[str, Tensor] = {}

    def show(self, latents: Mapping[str, Tensor], frame: Frame | None = None, again: bool = False) -> None:
        self._latents = dict(latents)

    def draw(self) -> dict[str, Picture]:
        return {name: self._decoder.decode(latent.numpy()) for name, latent in self._latents.items()}

    def draw_frame(self, frame: Frame) -> Picture:
        return frame


class _Lines:
    """Vectors as lines over time, above those of the real frames."""

    def __init__(self, vae: Vision) -> None:
        self._vae = vae
        self._histories: dict[str, deque[Any]] = {}

    @torch.no_grad()
    def show(self, latents: Mapping[str, Tensor], frame: Frame | None = None, again: bool = False) -> None:
        vectors = {name: self._vae.decode(row[None])[0] for name, row in latents.items()}
        if frame is not None:
            vectors[ENVIRONMENT] = self._vae.to_input(torch.from_numpy(frame)[None])[0]
        self._histories = {name: self._histories.get(name, deque(maxlen=STEPS)) for name in vectors}
        for name, vector in vectors.items():
            history = self._histories[name]
            if again and history:
                history.pop()
            history.append(vector.cpu().numpy())

    def draw(self) -> dict[str, Picture]:
        real = self._histories.get(ENVIRONMENT)
        reference = None if real is None else np.stack(real)
        named = ((name, history) for name, history in self._histories.items() if name != ENVIRONMENT)
        return {name: draw_lines(np.stack(history), reference) for name, history in named}

    def draw_frame(self, frame: Frame) -> Picture:
        return draw_lines(np.stack(self._histories[ENVIRONMENT]))
