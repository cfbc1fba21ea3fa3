"""A film of one test episode: the environment, what V keeps of it, and M's dream of the same actions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from vmc.dream.beside import DreamBeside
from vmc.dream.loading import load_dream
from vmc.dream.settings import DreamSettings
from vmc.envs import make_env
from vmc.episode import Decision, Frame, Limits, iterate_episode
from vmc.models.agent import Agent, load_agent
from vmc.models.checkpoints import vae_checkpoint
from vmc.report.panels import PANEL_HEIGHT, Picture, film_picture
from vmc.report.video import check_video_path, write_video
from vmc.seeding import env_seed, stream
from vmc.stages.panels import DREAM, ENVIRONMENT, RECONSTRUCTION, Panels, draw_environment, make_panels

# Where the environment names no rate: that of CarRacing.
_FRAMES_PER_SECOND = 50.0
# The panels of an MP4 are as high as the environment's own picture, up to this; in pixels.
_MAX_HEIGHT = 480


class FilmStep(NamedTuple):
    """A frame of an episode, and what V and M make of it.

    Attributes:
        step: the number of steps before the frame.
        episode_return: the sum of the rewards before the frame.
        panels: pictures by their names, uint8 (H, W, 3), each of its own size.
    """

    step: int
    episode_return: float
    panels: dict[str, Picture]


def film_episode(env: str, run: Path, path: Path, max_steps: int | None, seed: int) -> int:
    """Films the first test episode under the run's C, as .mp4 or .gif by the suffix of `path`; returns its steps.

    Raises:
        VmcError: V, M or C missing, or they do not belong together; a file ending that is neither .mp4 nor .gif.
    """
    check_video_path(path)
    with closing(make_env(env, rendered=True)) as real:
        steps = film_steps(real, env, run, max_steps, seed)
        return write_video(path, _pictures(steps, grows=path.suffix == ".mp4"), frames_per_second(real))


def film_steps(env: gym.Env[Any, Any], env_id: str, run: Path, max_steps: int | None, seed: int) -> Iterator[FilmStep]:
    """The frames of the first test episode under the run's C, but for the last one, which C does not see.

    Args:
        env: made by `make_env(env_id, rendered=True)`.

    Raises:
        VmcError: V, M or C missing, or they do not belong together.
    """
    vae_checkpoint(run, env_id)
    dream, number, total = load_dream(run), env_seed(seed, "test", 0), 0.0
    panels, beside = make_panels(dream.vae), DreamBeside(dream, DreamSettings(), stream(seed, "film"))
    watched = _Watched(load_agent(run, env_id), env, panels, beside)
    steps = iterate_episode(env, watched, number, stream(number, "agent"), Limits(max_steps))
    for length, step in enumerate(steps):
        yield FilmStep(length, total, watched.pictures)
        total += step.reward


class _Watched:
    """The agent as a `Policy`; each of its frames is drawn before it acts."""

    def __init__(self, agent: Agent, env: gym.Env[Any, Any], panels: Panels, beside: DreamBeside) -> None:
        self._agent, self._env, self._panels, self._beside = agent, env, panels, beside
        self.pictures: dict[str, Picture] = {}

    def reset(self, rng: np.random.Generator) -> None:
        self._agent.reset(rng)
        self._last: Decision | None = None

    def act(self, frame: Frame) -> Decision:
        decision = self._agent.act(frame)
        assert decision.latent is not None  # an agent's decision
        if self._last is None:
            self._beside.begin(decision.latent)
        else:
            self._beside.step(self._last.action, decision.latent)
        self._last = decision
        kept, dreamed = self._beside.latents()
        self._panels.show({RECONSTRUCTION: kept, DREAM: dreamed}, frame)
        self.pictures = {ENVIRONMENT: draw_environment(self._env, frame, self._panels), **self._panels.draw()}
        return decision


def frames_per_second(env: gym.Env[Any, Any]) -> float:
    """The environment's own rate."""
    return float(env.metadata.get("render_fps") or _FRAMES_PER_SECOND)


def _pictures(steps: Iterator[FilmStep], grows: bool) -> Iterator[Picture]:
    """The film's pictures; with `grows`, at the height of the environment's own."""
    for step in steps:
        own = len(step.panels[ENVIRONMENT])
        height = min(max(own, PANEL_HEIGHT), _MAX_HEIGHT) if grows else PANEL_HEIGHT
        yield film_picture(step.panels, film_caption(step.step, step.episode_return), height)


def film_caption(step: int, episode_return: float) -> str:
    """The line below a film's panels; of a fixed width, so that it does not jump."""
    return f"step {step:4}    return {episode_return:7.1f}"
