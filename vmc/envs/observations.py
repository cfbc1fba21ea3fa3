"""What V sees at each moment, its frame: a picture, uint8 (64, 64, 3), or a vector, float32 (D,)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.envs.preprocess import PREPROCESSING, PreprocessedFrames
from vmc.errors import VmcError

# Named in every data set; change it whenever a vector could change.
VECTORS = "vector-v1"
PREPROCESSINGS = (PREPROCESSING, VECTORS)


class Vectors(gym.ObservationWrapper[Any, Any, Any]):
    """A one-dimensional Box of numbers as float32 (D,), in the environment's units."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        shape = env.observation_space.shape
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, shape, np.float32)

    def observation(self, observation: Any) -> npt.NDArray[np.float32]:
        """Raises a `VmcError` when a number is not finite: no model could learn from it."""
        vector = np.array(observation, np.float32)
        if not np.isfinite(vector).all():
            raise VmcError(f"{self.spec.id if self.spec else self} showed {vector}, which is not finite.")
        return vector


class Recoloured(gym.ObservationWrapper[Any, Any, Any]):
    """Pictures of another layout as (height, width, 3)."""

    def __init__(self, env: gym.Env[Any, Any], recolour: Callable[[Any], Any]) -> None:
        super().__init__(env)
        self._recolour = recolour
        assert env.observation_space.shape is not None
        shape = recolour(np.empty(env.observation_space.shape, np.uint8)).shape
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)

    def observation(self, observation: Any) -> npt.NDArray[np.uint8]:
        picture: npt.NDArray[np.uint8] = self._recolour(observation)
        return picture


class _Layout(NamedTuple):
    """One way in which pictures come.

    Attributes:
        fits: whether a shape is of this layout.
        recolour: to (H, W, 3).
    """

    fits: Callable[[tuple[int, ...]], bool]
    recolour: Callable[[Any], Any]


# The first that fits is taken.
_LAYOUTS = (
    _Layout(lambda s: len(s) == 3 and s[2] == 3, lambda picture: picture),
    _Layout(lambda s: len(s) == 3 and s[2] == 4, lambda picture: picture[..., :3]),  # without its opacity
    _Layout(lambda s: len(s) == 3 and s[2] == 1, lambda picture: np.repeat(picture, 3, axis=2)),
    _Layout(lambda s: len(s) == 3 and s[0] == 3, lambda picture: np.moveaxis(picture, 0, 2)),
    _Layout(lambda s: len(s) == 3 and s[0] == 1, lambda picture: np.repeat(np.moveaxis(picture, 0, 2), 3, axis=2)),
    _Layout(lambda s: len(s) == 2, lambda picture: np.repeat(picture[:, :, None], 3, axis=2)),
)


def with_frames(env: gym.Env[Any, Any], crop_rows: int | None, pixels: bool) -> gym.Env[Any, Any]:
    """The environment with frames as observations.

    Args:
        crop_rows: of a picture, keep rows `[0, crop_rows)`; None keeps all.
        pixels: take the rendered picture; the environment was made with `render_mode="rgb_array"`.

    Raises:
        ValueError: says what the observation space is and what it should be.
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
    """How the frames of an environment that `make_env` made came about; kept with the data."""
    return VECTORS if len(env.observation_space.shape or ()) == 1 else PREPROCESSING
