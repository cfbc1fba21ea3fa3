"""What a person keeps of an episode: a video of the panels, and the episode itself as a shard."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from vmc.envs import env_slug
from vmc.episode import Trajectory
from vmc.errors import VmcError
from vmc.report.panels import Picture, film_picture
from vmc.report.video import open_video
from vmc.stages.settings import HUMAN
from vmc.storage.files import locked
from vmc.storage.rollouts import Episode, RolloutDataset, Source, check_env_matches, present_indices, write_shard

# A GIF is made in memory: a minute at 50 steps a second.
MAX_STEPS = {"gif": 3000, "mp4": 30_000}


class Film:
    """A video that grows with the episode.

    Args:
        path: .mp4 or .gif.
        panels: the names of the panels that are shown.

    Raises:
        VmcError: PyAV is not installed; the folder cannot be written.
    """

    def __init__(self, path: Path, frames_per_second: float, panels: list[str]) -> None:
        self.path, self._panels, self._steps = path, panels, 0
        self._shape: tuple[int, ...] | None = None
        self._stack = ExitStack()
        self._video = self._stack.enter_context(open_video(path, frames_per_second))

    @property
    def is_full(self) -> bool:
        """Whether no more steps fit."""
        return self._steps >= MAX_STEPS[self.path.suffix[1:]]

    def append(self, pictures: Mapping[str, Picture], caption: str) -> None:
        """Adds a step."""
        picture = film_picture({name: pictures[name] for name in self._panels}, caption)
        if self._shape is None:
            self._shape = picture.shape
        if picture.shape != self._shape:
            raise VmcError(f"The picture's size has changed from {self._shape} to {picture.shape}.")
        self._video.append(picture)
        self._steps += 1

    def close(self) -> None:
        """Ends the video; it is then whole."""
        self._stack.close()

    def discard(self) -> None:
        """Ends the video and removes it."""
        self.close()
        self.path.unlink(missing_ok=True)


# Pages of one server save one after another; `locked` keeps other processes out.
_SAVING = Lock()


def save_episode(
    data: Path,
    number: int | None,
    trajectory: Trajectory,
    env_seed: int,
    terminated: bool,
    truncated: bool,
    source: Source,
) -> tuple[Path, int]:
    """Adds an episode to a data folder; returns the shard's path and the episode's number.

    Args:
        number: the episode's, if it was saved before: it is then replaced; None takes the next free one.

    Raises:
        VmcError: it has no step; the folder is of another environment, is in use, or cannot be written.
    """
    if not trajectory.rewards:
        raise VmcError("The episode has no step yet: there is nothing to save.")
    with _SAVING, locked(data):
        present = present_indices(data)
        if present:
            check_env_matches(RolloutDataset(data), source.env, [source.preprocessing])
        if number is None:
            number = max(present, default=-1) + 1
        episode = to_episode(number, trajectory, env_seed, terminated, truncated)
        return write_shard(data, [episode], source), number


def to_episode(index: int, trajectory: Trajectory, env_seed: int, terminated: bool, truncated: bool) -> Episode:
    """A recorded episode as a shard keeps it."""
    frames, actions = np.stack(trajectory.frames), np.stack(trajectory.actions)
    return Episode(index, env_seed, frames, actions, np.array(trajectory.rewards), terminated, truncated)


def human_data_folder(env: str) -> Path:
    """Where a person's drives are kept: beside the data of the stages, which train again on other data."""
    return Path("data") / f"{env_slug(env)}-human"


def policy_of(steps: int, human_steps: int, controllers: Any = None) -> dict[str, Any]:
    """How a shard describes who acted in an episode: `human`, `controller`, or `human and controller`.

    Args:
        human_steps: those in which the person acted.
        controllers: the hashes of V, M and C; None without.
    """
    acted = {HUMAN: human_steps > 0, "controller": human_steps < steps}
    name = " and ".join(who for who, did in acted.items() if did)
    limits = {"max_steps": None, "no_reward_limit": None}
    return {"name": name, "human_steps": human_steps, "controllers": controllers, **limits}
