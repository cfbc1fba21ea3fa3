"""Real environments: making them, what is known about each, and how their pictures become frames."""

import gymnasium as gym

from vmc.envs.preprocess import FRAME_SHAPE, PREPROCESSING
from vmc.envs.proof import use_official_drawing
from vmc.envs.squash import ActionSquash
from vmc.envs.task import (
    CARRACING,
    FAST_CARRACING,
    TASKS,
    Task,
    action_squash,
    check_env,
    env_slug,
    get_task,
    make_env,
)

gym.register("vmc/Toy-v0", entry_point="vmc.envs.toy:ToyEnv", max_episode_steps=40)
gym.register(
    FAST_CARRACING,
    entry_point="vmc.envs.carracing:FastCarRacing",
    max_episode_steps=gym.spec(CARRACING).max_episode_steps,
    reward_threshold=gym.spec(CARRACING).reward_threshold,
)

__all__ = [
    "CARRACING",
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
    "use_official_drawing",
]
