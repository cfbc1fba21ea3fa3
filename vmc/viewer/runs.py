"""The runs that can be played, and the models of one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vmc.dream.loading import TrainedDream, load_dream
from vmc.envs import ActionMap, Keyboard, action_map_from_json, keyboard_of
from vmc.errors import VmcError
from vmc.models.agent import Agent, Planner, load_body, make_agent
from vmc.models.checkpoints import controller_folder, dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.models.controller import Controller, LinearController, PlannerSettings
from vmc.models.planner import CrossEntropyPlanner
from vmc.report.lines import draw_bars
from vmc.report.panels import fitted
from vmc.runs import RunSummary, find_runs, summarise
from vmc.storage.checkpoint import has_checkpoint

# Recorded moments that are offered as thumbnails.
_THUMBNAILS = 128
_THUMBNAIL_HEIGHT = 64


class PlayedRun(NamedTuple):
    """A run's models, made for one page.

    Attributes:
        name: the run's folder, as the page knows it.
        env: the environment that it was trained on.
        agent: V, M and C for the real environment.
        controller: C alone; None where the run has none yet.
        planner: searches around C's outputs in the dream, too; None where C acts by itself.
        action_map: from C's outputs to an action.
        keyboard: a person's keys.
    """

    name: str
    env: str
    dream: TrainedDream
    agent: Agent
    controller: Controller | None
    planner: Planner | None
    action_map: ActionMap
    keyboard: Keyboard


class _AtRest:
    """In place of a C that is not trained yet; the person's action always counts."""

    def __init__(self, size: int) -> None:
        self._outputs = np.zeros(size, np.float32)

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to begin."""

    def act(self, features: Any) -> npt.NDArray[np.float32]:
        return self._outputs


def playable_runs(folder: Path) -> list[RunSummary]:
    """The runs in a folder that have V and M."""
    return [run for run in find_runs(folder) if {"V", "M"} <= set(run.models)]


def require_playable(run: Path) -> RunSummary:
    """The run, if it has V and M.

    Raises:
        VmcError: it has not.
    """
    summary = summarise(run)
    missing = [name for name in "VM" if name not in summary.models]
    if missing:
        raise VmcError(
            f"{run} has no {missing[0]}: there is nothing to dream with.",
            "`vmc list` shows which runs have V and M; `vmc run` trains one.",
        )
    return summary


def load_played(path: Path) -> PlayedRun:
    """A run's models.

    Raises:
        VmcError: V or M are missing or corrupt, or do not belong together.
    """
    dream = load_dream(path)
    vae = vae_checkpoint(path)
    dynamics = dynamics_checkpoint(path, vae)
    env, action_map = vae.info["env"], action_map_from_json(dynamics.info["action_map"])
    controller, planner, body = None, None, load_body(path, env)
    if has_checkpoint(controller_folder(path), "best"):
        stored = load_controller(path, vae, dynamics)
        controller, agent = LinearController(stored.settings, stored.parameters), make_agent(body, stored)
        planner = None if stored.planning is None else _planner(stored.planning, dream, action_map)
    else:
        agent = body.agent()
        agent.use(_AtRest(action_map.size))
    keyboard = keyboard_of(env, dream.action_space)
    return PlayedRun(str(path), env, dream, agent, controller, planner, action_map, keyboard)


def _planner(planning: PlannerSettings, dream: TrainedDream, action_map: ActionMap) -> Planner:
    return CrossEntropyPlanner(planning, dream.dynamics.frozen(), action_map)


def describe(run: PlayedRun, frames_per_second: float) -> dict[str, Any]:
    """What the page has to know about a run."""
    dynamics = run.dream.dynamics
    return {
        "run": run.name,
        "env": run.env,
        "keys": [{"name": key.name, "label": key.label} for key in run.keyboard.keys],
        "has_controller": run.controller is not None,
        "latent_mask": dynamics.latent_mask.tolist(),
        "features": {name: size for name, size in dynamics.feature_sizes.items() if name != "z"},
        "temperature": run.dream.settings.temperature,
        "sample_termination": run.dream.settings.sample_termination,
        "steps_per_second": frames_per_second,
        "lines": not run.dream.vae.decodes_pictures,
        "starts": thumbnail_numbers(run.dream),
    }


def thumbnail_numbers(dream: TrainedDream) -> list[int]:
    """The recorded moments that are offered."""
    count = len(dream.starts)
    numbers = np.linspace(0, count - 1, min(count, _THUMBNAILS)).round()
    return [int(number) for number in np.unique(numbers)]


def thumbnails(path: Path) -> bytes:
    """V's pictures of the offered moments side by side, as a PNG 64 pixels high.

    Raises:
        VmcError: V or M are missing or corrupt, or do not belong together.
    """
    dream = load_dream(path)
    with torch.no_grad():
        inputs = dream.vae.decode(dream.starts.means[thumbnail_numbers(dream)])
        frames = dream.vae.to_frames(inputs).numpy() if dream.vae.decodes_pictures else map(draw_bars, inputs.numpy())
    pictures = [fitted(frame, _THUMBNAIL_HEIGHT) for frame in frames]
    content = io.BytesIO()
    Image.fromarray(np.concatenate(pictures, axis=1)).save(content, "PNG")
    return content.getvalue()
