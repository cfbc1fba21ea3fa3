"""Dreams side by side as a vector environment: `gymnasium.make_vec("vmc/Dream-v0", run=..., num_envs=...)`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from vmc.dream.actions import shown_space
from vmc.dream.batch import DreamBatch
from vmc.dream.env import METADATA, STREAM, check_render_mode, with_given
from vmc.dream.loading import TrainedDream, load_dream
from vmc.dream.observations import as_array, check_pictures, find_observation
from vmc.dream.settings import DreamSettings
from vmc.errors import VmcError
from vmc.models.chunks import decode_frames
from vmc.seeding import stream

Array = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
StepResult = tuple[Array, npt.NDArray[np.float64], Bools, Bools, dict[str, Any]]


class DreamVectorEnv(gym.vector.VectorEnv[Array, Array, Array]):
    """N dreams, stepped as one batch. Each is what `DreamEnv` with `seed + i` is.

    Args:
        num_envs: N.
        run: a run's folder with V and M, or a dream that is loaded already.
        max_episode_steps: after which a dream is truncated.
        autoreset_mode: when a dream that has ended begins again: with the next step (whose action it ignores),
            within the same step (the last observation is in `infos["final_obs"]`), or when
            `reset(options={"reset_mask": ...})` says so.
        observations, render_mode, temperature, sample_termination, device: as for `DreamEnv`.

    Raises:
        VmcError: a setting that is out of bounds; a run that cannot be dreamed.
    """

    def __init__(
        self,
        num_envs: int,
        run: str | Path | TrainedDream,
        *,
        max_episode_steps: int = DreamSettings.horizon,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        observations: str = "latent",
        render_mode: str | None = None,
        temperature: float | None = None,
        sample_termination: bool | None = None,
        device: str = "cpu",
    ) -> None:
        if num_envs < 1:
            raise VmcError(f"num_envs is {num_envs}; it must be at least 1.")
        check_render_mode(render_mode)
        self._observation = find_observation(observations)
        self._mode = AutoresetMode(autoreset_mode)
        self._dream = run if isinstance(run, TrainedDream) else load_dream(Path(run), device)
        given = {"temperature": temperature, "horizon": max_episode_steps, "sample_termination": sample_termination}
        self._settings = with_given(self._dream.settings, **given)
        if render_mode is not None:
            check_pictures(self._dream.vae)
        self._batch = DreamBatch(self._dream, self._settings, num_envs)
        self._generators: list[np.random.Generator] = []
        self._lengths = np.zeros(num_envs, np.int64)
        self._ended = np.zeros(num_envs, np.bool_)
        self.metadata = METADATA | {"autoreset_mode": self._mode}
        self.num_envs, self.render_mode = num_envs, render_mode
        self.single_observation_space = self._observation.space(self._dream)
        self.single_action_space = shown_space(self._dream.action_space)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begins all dreams, or those in `options["reset_mask"]`, bool (N,), at recorded moments.

        Args:
            seed: dream i gets `seed + i`; or one seed for each. Without, the random streams go on.

        Raises:
            VmcError: a mask or seeds of another shape; a mask before the first reset of all.
        """
        rows = self._reset_mask(options)
        self._seed(seed, rows)
        self._begin(rows)
        return self._observe(), {}

    def step(self, actions: Array) -> StepResult:
        """One step of all dreams; actions (N, A) of a Box are clipped to it, discrete ones are (N,).

        Raises:
            VmcError: actions of another shape, not finite, or not among the discrete ones; with autoreset disabled, a
                dream that has ended.
            ResetNeeded: before the first reset.
        """
        if not self._generators:
            raise gym.error.ResetNeeded("Cannot call env.step() before calling env.reset()")
        if self._mode is AutoresetMode.DISABLED and self._ended.any():
            raise VmcError(
                f"Dream {np.flatnonzero(self._ended)[0]} has ended, and autoreset is disabled.",
                "Call reset(options={'reset_mask': terminations | truncations}) first.",
            )
        resting = self._ended  # these begin again, in place of a step
        rewards, terminated = self._batch.step(np.asarray(actions), ~resting)
        self._lengths += 1
        truncated = self._lengths >= self._settings.horizon
        rewards[resting], terminated[resting], truncated[resting] = 0.0, False, False
        self._begin(resting)
        self._ended = terminated | truncated
        observations, infos = self._observe(), {}
        if self._mode is AutoresetMode.SAME_STEP:
            infos = self._begin_within_the_step(observations)
        return observations, rewards, terminated, truncated, infos

    def render(self) -> tuple[npt.NDArray[np.uint8], ...] | None:
        """V's pictures of the present latents, N times uint8 (64, 64, 3)."""
        latents = self._dream.dynamics.latents(self._batch.state)
        return None if self.render_mode is None else tuple(as_array(decode_frames(self._dream.vae, latents)))

    def _begin(self, rows: Bools) -> None:
        if rows.any():
            self._batch.begin(rows, self._generators)
            self._lengths[rows] = 0
            self._ended = self._ended & ~rows

    def _begin_within_the_step(self, observations: Array) -> dict[str, Any]:
        """Replaces ended dreams' observations by their first new ones; returns the infos with their last ones."""
        ended = self._ended
        infos: dict[str, Any] = {}
        for row in np.flatnonzero(ended):
            infos = self._add_info(infos, {"final_obs": observations[row].copy(), "final_info": {}}, int(row))
        self._begin(ended)
        if ended.any():
            observations[ended] = self._observe(ended)
        return infos

    def _observe(self, rows: Bools | slice = slice(None)) -> Array:
        return as_array(self._observation.observe(self._dream, self._batch.state.rows(rows)))

    def _seed(self, seed: int | Sequence[int] | None, rows: Bools) -> None:
        if seed is None and self._generators:
            return
        if seed is None or isinstance(seed, int):
            super().reset(seed=seed)
            assert self.np_random_seed is not None  # made up where none was given
            seed = [self.np_random_seed + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise VmcError(f"There are {len(seed)} seeds for {self.num_envs} dreams.")
        fresh = [stream(one, STREAM) for one in seed]
        old = self._generators or fresh
        self._generators = [fresh[row] if rows[row] else old[row] for row in range(self.num_envs)]

    def _reset_mask(self, options: dict[str, Any] | None) -> Bools:
        if not options or "reset_mask" not in options:
            return np.ones(self.num_envs, np.bool_)
        mask = np.asarray(options["reset_mask"])
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise VmcError(
                f"reset_mask is {mask.dtype} {mask.shape} with {np.count_nonzero(mask)} dreams to reset; "
                f"it must be bool ({self.num_envs},) with one or more."
            )
        if not self._generators and not mask.all():
            raise VmcError("A mask leaves out dreams that have not begun.", "Reset all of them first.")
        return mask
