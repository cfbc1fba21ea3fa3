"""Real environments: making them, what is known about each, their frames and their actions."""

import gymnasium as gym

from vmc.envs.action_map import ActionMap, BoxActionMap, action_map_from_json
from vmc.envs.drawing import fast_drawing_is_proved, inherited_variables, numba_cache, use_official_drawing
from vmc.envs.keys import Key, Keyboard, at_rest
from vmc.envs.name import WORDS, env_slug, join_name
from vmc.envs.observations import PREPROCESSINGS, VECTORS, preprocessing_of
from vmc.envs.preprocess import FRAME_SHAPE, PREPROCESSING
from vmc.envs.task import (
    CARRACING,
    FAST_CARRACING,
    OWN_TAKE_COVER,
    TAKE_COVER,
    TASKS,
    Task,
    action_map_of,
    add_task,
    check_env,
    get_task,
    keyboard_of,
    known_names,
    make_env,
)

gym.register("vmc/Toy-v0", entry_point="vmc.envs.toy:ToyEnv", max_episode_steps=40)
gym.register(
    FAST_CARRACING,
    entry_point="vmc.envs.carracing:FastCarRacing",
    max_episode_steps=gym.spec(CARRACING).max_episode_steps,
    reward_threshold=gym.spec(CARRACING).reward_threshold,
)
# The paper's limit (a minute), and the score at which gym-doom calls it solved.
gym.register(OWN_TAKE_COVER, entry_point="vmc.envs.doom:TakeCover", max_episode_steps=2100, reward_threshold=750)

__all__ = [
    "CARRACING",
    "FRAME_SHAPE",
    "PREPROCESSING",
    "PREPROCESSINGS",
    "TAKE_COVER",
    "TASKS",
    "VECTORS",
    "WORDS",
    "ActionMap",
    "BoxActionMap",
    "Key",
    "Keyboard",
    "Task",
    "action_map_from_json",
    "action_map_of",
    "add_task",
    "at_rest",
    "check_env",
    "env_slug",
    "fast_drawing_is_proved",
    "get_task",
    "inherited_variables",
    "join_name",
    "keyboard_of",
    "known_names",
    "make_env",
    "numba_cache",
    "preprocessing_of",
    "use_official_drawing",
]
