"""Real environments: making them, what is known about each, and how their pictures become frames."""

import gymnasium as gym

from vmc.envs.preprocess import FRAME_SHAPE, PREPROCESSING
from vmc.envs.squash import ActionSquash
from vmc.envs.task import TASKS, Task, action_squash, check_env, env_slug, get_task, make_env

gym.register("vmc/Toy-v0", entry_point="vmc.envs.toy:ToyEnv", max_episode_steps=40)

__all__ = [
    "FRAME_SHAPE",
    "PREPROCESSING",
    "TASKS",
    "ActionSquash",
    "Task",
    "action_squash",
    "check_env",
    "env_slug",
    "get_task",
    "make_env",
]
