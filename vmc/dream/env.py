"""One dream as a Gymnasium environment: `gymnasium.make("vmc/Dream-v0", run=...)`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from vmc.dream.actions import shown_space
from vmc.dream.batch import DreamBatch
from vmc.dream.loading import TrainedDream, load_dream
from vmc.dream.observations import as_array, check_pictures, find_observation
from vmc.dream.settings import DreamSettings
from vmc.errors import VmcError
from vmc.models.chunks import decode_frames
from vmc.models.dynamics.state import State
from vmc.seeding import stream

METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 50}
# The random stream of an environment with a seed; that of `make_vec` gives environment i `seed + i`, as Gymnasium does.
STREAM = "dream/env"
_ONLY = np.ones(1, np.bool_)


class DreamEnv(gym.Env[npt.NDArray[Any], npt.NDArray[Any]]):
    """M as an environment, with the real one's action space; `gymnasium.make` adds the time limit.

    Args:
        run: a run's folder with V and M, or a dream that is loaded already.
        observations: `latent` (z), `features` ([z, h], what C sees) or `pixels` (V's picture of z).
        render_mode: None or `rgb_array`, V's picture of z.
        temperature: above 0; above 1 makes the dream more uncertain and harder to exploit.
        sample_termination: terminate with M's probability; else where that exceeds a threshold. Both are by default
            those that the run's C was evolved with.
        device: where V and M run, when `run` is a folder.

    Raises:
        VmcError: a setting that is out of bounds; a run that cannot be dreamed.
    """

    metadata = METADATA

    def __init__(
        self,
        run: str | Path | TrainedDream,
        *,
        observations: str = "latent",
        render_mode: str | None = None,
        temperature: float | None = None,
        sample_termination: bool | None = None,
        device: str = "cpu",
    ) -> None:
        self._observation = find_observation(observations)
        check_render_mode(render_mode)
        self._dream = run if isinstance(run, TrainedDream) else load_dream(Path(run), device)
        settings = with_given(self._dream.settings, temperature=temperature, sample_termination=sample_termination)
        self._batch = DreamBatch(self._dream, settings, 1)
        if render_mode is not None:
            check_pictures(self._dream.vae)
        self.render_mode = render_mode
        self.observation_space = self._observation.space(self._dream)
        self.action_space = shown_space(self._dream.action_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Begins at a recorded moment; the same seed gives the same dream.

        Args:
            options: `start`, the number of a recorded moment, or `state`, a state of M with one row; without either,
                the moment is drawn.

        Raises:
            VmcError: there is no such moment.
        """
        super().reset(seed=seed)
        if seed is not None or self._np_random is None:
            assert self.np_random_seed is not None
            self._np_random = stream(self.np_random_seed, STREAM)
        self._batch.begin(_ONLY, [self.np_random], self._chosen_state(options or {}))
        return self._observe(), {}

    def step(self, action: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], float, bool, bool, dict[str, Any]]:
        """One step of the dream; an action of a Box is clipped to it.

        Raises:
            VmcError: an action of another shape, not finite, or not among the discrete ones.
        """
        rewards, terminated = self._batch.step(np.asarray(action)[None], _ONLY)
        return self._observe(), float(rewards[0]), bool(terminated[0]), False, {}

    @property
    def state(self) -> State:
        """M's present state, of one row; another one can be set."""
        return self._batch.state

    @state.setter
    def state(self, state: State) -> None:
        self._batch.state = state

    @property
    def termination(self) -> float:
        """M's probability that the last step terminates."""
        return float(self._batch.terminations[0])

    @property
    def settings(self) -> DreamSettings:
        """Temperature and termination of the steps to come; others can be set. `gymnasium.make` has the horizon."""
        return self._batch.settings

    @settings.setter
    def settings(self, settings: DreamSettings) -> None:
        self._batch.settings = settings

    def _chosen_state(self, options: dict[str, Any]) -> State | None:
        if "start" not in options:
            return options.get("state")
        number, starts = options["start"], self._dream.starts
        if not 0 <= number < len(starts):
            raise VmcError(f"There is no recorded moment {number}: they are 0 to {len(starts) - 1}.")
        return starts.at(np.array([number]), [self.np_random])

    def render(self) -> npt.NDArray[np.uint8] | None:
        """V's picture of the present z, uint8 (64, 64, 3)."""
        return None if self.render_mode is None else self._picture()

    def _picture(self) -> npt.NDArray[np.uint8]:
        pictures = decode_frames(self._dream.vae, self._dream.dynamics.latents(self._batch.state))
        picture: npt.NDArray[np.uint8] = as_array(pictures)[0]
        return picture

    def _observe(self) -> npt.NDArray[Any]:
        return as_array(self._observation.observe(self._dream, self._batch.state)[0])


def with_given(settings: DreamSettings, **given: Any) -> DreamSettings:
    """The settings, with the values that are not None."""
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def check_render_mode(render_mode: str | None) -> None:
    """Raises a `VmcError` for a mode that dreams do not have."""
    if render_mode not in (None, *METADATA["render_modes"]):
        raise VmcError(f"A dream cannot be rendered as {render_mode!r}.", "There is rgb_array.")
