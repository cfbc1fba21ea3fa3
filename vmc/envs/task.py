"""What `vmc` knows about an environment beyond what Gymnasium says: one table."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from vmc.envs.preprocess import PreprocessedFrames
from vmc.envs.proof import fast_drawing_is_proved
from vmc.envs.squash import ActionSquash
from vmc.errors import VmcError

CARRACING, FAST_CARRACING = "CarRacing-v3", "vmc/FastCarRacing-v3"
TAKE_COVER, OWN_TAKE_COVER = "VizdoomTakeCover-v1", "vmc/VizdoomTakeCover-v1"


def _carracing_squash() -> ActionSquash:
    """Steer tanh, gas (tanh + 1) / 2, brake max(tanh, 0): a zero output does not brake."""
    low, high = np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32)
    return ActionSquash(np.array([0, 0.5, 0], np.float32), np.array([1, 0.5, 1], np.float32), low, high)


@dataclass(frozen=True)
class Task:
    """An environment's entry in the table.

    Attributes:
        own_id: what our own version of the environment is registered as; None: there is none, the official one is made.
        crop_rows: keep rows `[0, crop_rows)` of the picture; None keeps all.
        squash: makes the action squash; None derives it from the Box action space.
        latent_size: Z, V's width.
        hidden_size: H, M's width.
        controller_inputs: what C sees of z, h and c.
    """

    own_id: str | None = None
    crop_rows: int | None = None
    squash: Callable[[], ActionSquash] | None = None
    latent_size: int = 32
    hidden_size: int = 256
    controller_inputs: str = "zh"


TASKS = {
    # Rows 84-95 are the panel with the score and the indicators.
    CARRACING: Task(FAST_CARRACING, crop_rows=84, squash=_carracing_squash),
    # Rows 400-479 are the status bar. Sizes: the paper's DoomRNN.
    TAKE_COVER: Task(OWN_TAKE_COVER, crop_rows=400, latent_size=64, hidden_size=512, controller_inputs="zch"),
    "vmc/Toy-v0": Task(latent_size=8, hidden_size=32),
}


def get_task(env_id: str) -> Task:
    """The table's entry, or the default one.

    `CarRacing`, `module:CarRacing-v3` and `vmc/FastCarRacing-v3` find that of `CarRacing-v3`.
    """
    name = env_id.rsplit(":", maxsplit=1)[-1]
    found = (task for known, task in TASKS.items() if name in (known, known.rpartition("-v")[0], task.own_id))
    return next(found, Task())


def env_slug(env_id: str) -> str:
    """A folder name for an environment: `CarRacing-v3` gives `carracing-v3`."""
    return env_id.rsplit(":", maxsplit=1)[-1].replace("/", "-").lower()


def check_env(env_id: str) -> None:
    """Makes and closes the environment, so that what does not fit is told before any work is done."""
    make_env(env_id).close()


def make_env(env_id: str) -> gym.Env[Any, Any]:
    """A single environment whose observations are frames, uint8 (64, 64, 3), with no autoreset.

    Raises:
        VmcError: no such environment, or one whose observations or actions do not fit.
    """
    try:
        env = gym.make(_own_version(env_id))
    except (gym.error.Error, ImportError, ValueError, TypeError) as error:
        raise _unknown(env_id, error) from None
    problem = _misfit(env)
    if problem:
        env.close()
        raise VmcError(f"{env_id} does not fit: {problem}.", "vmc needs uint8 pictures and a bounded Box action.")
    return PreprocessedFrames(env, get_task(env_id).crop_rows)


def _own_version(env_id: str) -> str:
    if env_id not in TASKS or (env_id == CARRACING and not fast_drawing_is_proved()):
        return env_id
    return TASKS[env_id].own_id or env_id


def action_squash(env_id: str, env: gym.Env[Any, Any]) -> ActionSquash:
    """The squash of the environment's task, or the one that fills its Box."""
    make = get_task(env_id).squash
    space = env.action_space
    assert isinstance(space, gym.spaces.Box)
    return make() if make else ActionSquash.from_bounds(space.low, space.high)


def _misfit(env: gym.Env[Any, Any]) -> str | None:
    seen, acts = env.observation_space, env.action_space
    if not (isinstance(seen, gym.spaces.Box) and seen.dtype == np.uint8 and len(seen.shape) == 3):
        return f"its observations are {seen}, not uint8 pictures (height, width, 3)"
    if seen.shape[2] != 3:
        return f"its pictures have {seen.shape[2]} channels, not 3"
    if not (isinstance(acts, gym.spaces.Box) and len(acts.shape) == 1 and acts.is_bounded()):
        return f"its actions are {acts}, not a bounded one-dimensional Box"
    return None


def _unknown(env_id: str, error: Exception) -> VmcError:
    # Gymnasium's own message names the module or the version to take; without one, look for a similar name.
    near = difflib.get_close_matches(env_id, {**TASKS, **gym.registry}, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}?" if near else "`--env` takes any registered id, or module:Id-v0."
    return VmcError(f"No environment {env_id!r}: {str(error).rstrip('.')}.", hint)
