"""Wrappers that turn observations into frames, V's inputs: uint8 (64, 64, 3) pictures or float32 (D,) vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.envs.conformity import is_picture, misfit
from vmc.envs.preprocess import PREPROCESSING, PreprocessedFrames
from vmc.errors import VmcError

# Every data set stores this name. A change of the code that can change a vector must change the name too.
VECTORS = "vector-v1"
PREPROCESSINGS = (PREPROCESSING, VECTORS)


class Vectors(gym.ObservationWrapper[Any, Any, Any]):
    """Turns observations from a one-dimensional Box into float32 (D,), in the environment's units."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._shape = env.observation_space.shape
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, self._shape, np.float32)

    def observation(self, observation: Any) -> npt.NDArray[np.float32]:
        """Raises a `VmcError` if the shape is another one, or a number is not finite: no model can learn from it."""
        try:
            vector = np.array(observation, np.float32)
        except (TypeError, ValueError):
            raise misfit(self.env, observation) from None
        if vector.shape != self._shape:
            raise misfit(self.env, observation)
        if not np.isfinite(vector).all():
            raise VmcError(f"{self.spec.id if self.spec else self} showed {vector}, which is not finite.")
        return vector


class Recoloured(gym.ObservationWrapper[Any, Any, Any]):
    """Turns uint8 pictures of another layout into (height, width, 3)."""

    def __init__(self, env: gym.Env[Any, Any], recolour: Callable[[Any], Any]) -> None:
        super().__init__(env)
        self._recolour = recolour
        assert env.observation_space.shape is not None
        self._shape = env.observation_space.shape
        shape = recolour(np.empty(env.observation_space.shape, np.uint8)).shape
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)

    def observation(self, observation: Any) -> npt.NDArray[np.uint8]:
        """Raises a `VmcError` if the picture is not as the observation space says."""
        if not is_picture(observation, self._shape):
            raise misfit(self.env, observation)
        picture: npt.NDArray[np.uint8] = self._recolour(observation)
        return picture


class _Layout(NamedTuple):
    """A layout of pictures.

    Attributes:
        fits: whether a shape has this layout.
        recolour: turns a picture of this layout into (H, W, 3).
    """

    fits: Callable[[tuple[int, ...]], bool]
    recolour: Callable[[Any], Any]


# The first layout that fits is used.
_LAYOUTS = (
    _Layout(lambda s: len(s) == 3 and s[2] == 3, lambda picture: picture),
    _Layout(lambda s: len(s) == 3 and s[2] == 4, lambda picture: picture[..., :3]),  # drops the opacity
    _Layout(lambda s: len(s) == 3 and s[2] == 1, lambda picture: np.repeat(picture, 3, axis=2)),
    _Layout(lambda s: len(s) == 3 and s[0] == 3, lambda picture: np.moveaxis(picture, 0, 2)),
    _Layout(lambda s: len(s) == 3 and s[0] == 1, lambda picture: np.repeat(np.moveaxis(picture, 0, 2), 3, axis=2)),
    _Layout(lambda s: len(s) == 2, lambda picture: np.repeat(picture[:, :, None], 3, axis=2)),
)


def with_frames(env: gym.Env[Any, Any], crop_rows: int | None, pixels: bool) -> gym.Env[Any, Any]:
    """Wraps the environment so that its observations are frames.

    Args:
        crop_rows: keep rows `[0, crop_rows)` of a picture; None keeps all.
        pixels: use the rendered picture; the environment must have `render_mode="rgb_array"`.

    Raises:
        ValueError: names the observation space and the supported ones.
    """
    if pixels:
        env = gym.wrappers.AddRenderObservation(env, render_only=True)
    space = env.observation_space
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1:
        return Vectors(env)
    if isinstance(space, gym.spaces.Box) and space.dtype == np.uint8:
        for number, layout in enumerate(_LAYOUTS):
            if layout.fits(space.shape):
                return PreprocessedFrames(env if number == 0 else Recoloured(env, layout.recolour), crop_rows)
    raise ValueError(f"its observations are {space}, neither uint8 pictures nor a one-dimensional Box")


def preprocessing_of(env: gym.Env[Any, Any]) -> str:
    """The name of the preprocessing of an environment from `make_env`; data sets store it."""
    return VECTORS if len(env.observation_space.shape or ()) == 1 else PREPROCESSING
