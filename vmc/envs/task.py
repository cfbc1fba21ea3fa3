"""The facts about environments that Gymnasium does not tell: one table."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np

from vmc.envs.action_map import ActionMap, BoxActionMap
from vmc.envs.actions import action_map_for, with_vector_actions
from vmc.envs.drawing import announced, fast_drawing_is_proved
from vmc.envs.keys import DOWN, LEFT, RIGHT, UP, Key, Keyboard, default_keyboard
from vmc.envs.name import PIXELS, SCALAR_ACTIONS, EnvName, parse_name
from vmc.envs.observations import preprocessing_of, with_frames
from vmc.envs.preprocess import PREPROCESSING, warm_up
from vmc.envs.time_limit import has_time_limit, tell_default_limit
from vmc.errors import VmcError
from vmc.own_code import import_own

CARRACING, FAST_CARRACING = "CarRacing-v3", "vmc/FastCarRacing-v3"
DISCRETE_CARRACING = f"{CARRACING},continuous=False"
TAKE_COVER, OWN_TAKE_COVER = "VizdoomTakeCover-v1", "vmc/VizdoomTakeCover-v1"


def _carracing_action_map() -> BoxActionMap:
    """Steer tanh, gas (tanh + 1) / 2, brake max(tanh, 0): a zero output does not brake."""
    low, high = np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32)
    return BoxActionMap(np.array([0, 0.5, 0], np.float32), np.array([1, 0.5, 1], np.float32), low, high)


@dataclass(frozen=True)
class Task:
    """An environment's entry in the table.

    Attributes:
        own_id: what our own version of the environment is registered as; None: there is none, the official one is made.
        crop_rows: keep rows `[0, crop_rows)` of the picture; None keeps all.
        action_map: makes the action_map of a Box of actions; None derives it from the action space.
        vision: the kind of V; None takes `conv` for pictures and `identity` for vectors.
        latent_size: Z, V's width (`identity` has the vector's own).
        hidden_size: H, M's width.
        controller_inputs: what C sees of z, h and c.
        keyboard: the keys by which a person acts; None derives them from the action space.
        published: the paper's scores, by the rows of `vmc ablate`.
    """

    own_id: str | None = None
    crop_rows: int | None = None
    action_map: Callable[[], BoxActionMap] | None = None
    vision: str | None = None
    latent_size: int = 32
    hidden_size: int = 256
    controller_inputs: str = "zh"
    keyboard: Keyboard | None = None
    published: Mapping[str, str] = field(default_factory=dict)


# As `python -m gymnasium.envs.box2d.car_racing`, but for the ramp: a full brake blocks the wheels.
_DRIVING = (
    Key(LEFT, "steer left", (-1, 0, 0)),
    Key(RIGHT, "steer right", (1, 0, 0)),
    Key(UP, "gas", (0, 1, 0)),
    Key(DOWN, "brake", (0, 0, 0.8)),
)
_SWITCHED_DRIVING = (
    Key(LEFT, "steer left", 2),
    Key(RIGHT, "steer right", 1),
    Key(UP, "gas", 3),
    Key(DOWN, "brake", 4),
)
_LEFT_OR_RIGHT = (Key(LEFT, "left", (-1,)), Key(RIGHT, "right", (1,)))
# A positive torque turns anticlockwise.
_TORQUE = (Key(LEFT, "anticlockwise", (2,)), Key(RIGHT, "clockwise", (-2,)))
_ENGINES = (Key(LEFT, "left engine", 1), Key(UP, "main engine", 2), Key(RIGHT, "right engine", 3))

# By name; `add_task` adds to it. How to train on each is in its recipes (`vmc/recipes`).
TASKS = {
    # Rows 84-95 are the panel with the score and the indicators.
    CARRACING: Task(
        FAST_CARRACING,
        crop_rows=84,
        action_map=_carracing_action_map,
        keyboard=Keyboard(_DRIVING, ramp_steps=6),
        # On CarRacing-v0.
        published={"full": "906 ± 21", "v-only": "632 ± 251", "v-only-hidden": "788 ± 141"},
    ),
    DISCRETE_CARRACING: Task(FAST_CARRACING, crop_rows=84, keyboard=Keyboard(_SWITCHED_DRIVING, rest=0)),
    # Rows 400-479 are the status bar. Sizes: the paper's DoomRNN.
    TAKE_COVER: Task(
        OWN_TAKE_COVER,
        crop_rows=400,
        latent_size=64,
        hidden_size=512,
        controller_inputs="zch",
        keyboard=Keyboard(_LEFT_OR_RIGHT),
    ),
    "vmc/Toy-v0": Task(latent_size=8, hidden_size=32),
    # What these show is the whole state: a small M suffices, and a small C is soon found.
    "CartPole-v1": Task(hidden_size=16, keyboard=Keyboard((Key(LEFT, "left", 0), Key(RIGHT, "right", 1)))),
    "MountainCarContinuous-v0": Task(hidden_size=16, keyboard=Keyboard(_LEFT_OR_RIGHT)),
    "Pendulum-v1": Task(hidden_size=16, controller_inputs="z", keyboard=Keyboard(_TORQUE)),
    "LunarLander-v3": Task(hidden_size=16, controller_inputs="z", keyboard=Keyboard(_ENGINES, rest=0)),
    "BipedalWalker-v3": Task(hidden_size=32, controller_inputs="z"),
}


def add_task(name: str, task: Task) -> None:
    """Tells what is known about an environment of your own; call it where you register the environment."""
    TASKS[name] = task


def get_task(name: str) -> Task:
    """The table's entry, or the default one; the first of `known_names` that has one.

    Raises:
        VmcError: the name cannot be read, or its module cannot be imported.
    """
    return next((TASKS[key] for key in known_names(name) if key in TASKS), Task())


def known_names(name: str) -> list[str]:
    """The names by which something may be known about an environment, the most specific one first.

    The full name comes before the id alone. `CarRacing`, `module:CarRacing-v3` and `vmc/FastCarRacing-v3` are also
    known as `CarRacing-v3`.

    Raises:
        VmcError: the name cannot be read, or its module cannot be imported.
    """
    env = parse_name(name)
    _import_module(env)
    plain = EnvName(env.id.rsplit(":", maxsplit=1)[-1], env.arguments, env.words)
    aliases = (key for key, task in TASKS.items() if plain.id in (key.rpartition("-v")[0], task.own_id))
    return [str(env), str(plain), env.id, plain.id, *aliases]


def check_env(name: str, max_steps: int | None = None) -> str:
    """Makes and closes the environment, so that what does not fit is told before any work is done.

    An environment without a time limit is told, too, unless `max_steps` is one.

    Returns:
        How its frames come about (`preprocessing_of`).
    """
    with announced(f"{name} has not been made in two minutes. Its constructor may hang; Ctrl-C ends vmc.", _LONG):
        env = make_env(name)
    env.close()
    if max_steps is None and not has_time_limit(env):
        tell_default_limit(name)
    preprocessing = preprocessing_of(env)
    if preprocessing == PREPROCESSING:
        with announced("Compiling the resize of frames, once on this machine: a few seconds."):
            warm_up()
    return preprocessing


def make_env(name: str, rendered: bool = False) -> gym.Env[Any, Any]:
    """A single environment without autoreset, whose observations are frames and whose actions are vectors.

    A frame is a picture, uint8 (64, 64, 3), or a vector, float32 (D,). An action is float32 (A,) in a bounded Box;
    a discrete one is a one-hot vector.

    Args:
        rendered: `env.render()` then gives the environment's own picture, (H, W, 3); not all environments have one,
            and `env.render_mode` is None for those.

    Raises:
        VmcError: no such environment, or one whose observations or actions do not fit.
    """
    task, parsed = get_task(name), parse_name(name)
    env = _made(name, parsed, rendered)
    try:
        env = with_vector_actions(env, SCALAR_ACTIONS in parsed.words)
        if PIXELS in parsed.words:  # `crop_rows` is of the environment's own picture
            return with_frames(env, crop_rows=None, pixels=True)
        return with_frames(env, task.crop_rows, pixels=False)
    except ValueError as problem:
        env.close()
        raise VmcError(f"{name} does not fit: {problem}.", _WHAT_FITS) from None


# Seconds that an environment may take to be made before a word is said.
_LONG = 120.0
_WHAT_FITS = (
    "Register an id of your own whose entry point wraps the environment (gymnasium.wrappers), "
    "or give --pixels to see what it renders."
)


def action_map_of(name: str, env: gym.Env[Any, Any]) -> ActionMap:
    """The action_map of the environment's task, where it takes a Box, or the one that fills its action space."""
    make = get_task(name).action_map
    is_box = isinstance(env.unwrapped.action_space, gym.spaces.Box)
    return make() if make and is_box else action_map_for(env.action_space)


def keyboard_of(name: str, space: gym.Space[Any]) -> Keyboard:
    """The keys for an environment from `make_env` with this action space."""
    assert isinstance(space, gym.spaces.Box)
    known = get_task(name).keyboard
    return known if known is not None and known.fits(space) else default_keyboard(space)


def _made(name: str, parsed: EnvName, rendered: bool) -> gym.Env[Any, Any]:
    arguments = dict(parsed.arguments)
    if PIXELS in parsed.words or rendered:
        arguments["render_mode"] = "rgb_array"
    try:
        with warnings.catch_warnings():
            # Gymnasium warns, and goes on to a failure that says less.
            warnings.filterwarnings("error", ".*is not in the possible render_modes", UserWarning)
            return gym.make(_own_version(str(parsed), parsed.id), **arguments)
    except UserWarning:
        if PIXELS not in parsed.words:
            return _made(name, parsed, rendered=False)
        raise VmcError(f"{name} does not fit: it renders no rgb_array, which --pixels needs.", _WHAT_FITS) from None
    except (gym.error.Error, ImportError, ValueError, TypeError, AttributeError, RuntimeError, OSError) as error:
        raise _unknown(parsed.id, error) from None


def _own_version(name: str, env_id: str) -> str:
    """Only for names that stand in the table: other arguments might not have been compared with the official one."""
    task = TASKS.get(name)
    if task is None or (task.own_id == FAST_CARRACING and not fast_drawing_is_proved()):
        return env_id
    return task.own_id or env_id


def _import_module(env: EnvName) -> None:
    """Imports the module that the id names, which registers the environment and may add its task."""
    if env.module is not None:
        try:
            import_own(env.module)
        except (ImportError, ValueError) as error:
            raise _unknown(env.id, error) from None


def _unknown(env_id: str, error: Exception) -> VmcError:
    if env_id.rpartition(":")[2] in gym.registry:
        return VmcError(f"{env_id} cannot be made: {str(error).rstrip('.')}.", _ANY_ID)
    # Gymnasium's own suggestion lacks the version.
    message = str(error).split(". Did you mean")[0].rstrip(".")
    return VmcError(f"No environment {env_id!r}: {message}.", _hint(env_id, error))


def _hint(env_id: str, error: Exception) -> str:
    atari = _ATARI.fullmatch(env_id)
    near = difflib.get_close_matches(env_id, {**TASKS, **gym.registry}, n=1, cutoff=0.85 if atari else 0.65)
    if atari and (not near or env_id.startswith(_ATARI_PREFIXES)):
        return (
            f"Atari games need ale-py: `pip install ale-py`, then `--env ale_py:ALE/{atari[1]}-v5`. "
            "Any other environment needs the module that registers it: `--env module:Id-v0`."
        )
    if near and near[0] != env_id:
        return f"Did you mean {near[0]}?"
    if isinstance(error, ModuleNotFoundError):
        return (
            "`vmc` looks for the module in the current folder and on Python's path: "
            "change to the folder where it lies, put that on PYTHONPATH, or install it."
        )
    return _ANY_ID


# `Pong-v5`, `ALE/Pong-v5`, and the names of Gym's days.
_ATARI_PREFIXES = ("ALE/", "ale_py:")
_ATARI = re.compile(r"(?:ale_py:)?(?:ALE/)?([A-Z]\w*?)(?:-v5|(?:NoFrameskip|Deterministic)-v\d+)")
_ANY_ID = "`--env` takes any registered id, or module:Id-v0, and `--env-kwargs` what its constructor knows."
