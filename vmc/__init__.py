"""vmc: Ha & Schmidhuber's World Models (2018), from rollouts to a score.

The names below are the library; each is imported when it is first used, so that `import vmc` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

from vmc.extras import VERSION

if TYPE_CHECKING:
    from vmc.control.cma_es import Search, SearchSettings
    from vmc.dream.settings import DreamSettings
    from vmc.dream.world import DreamWorld
    from vmc.envs import Task, add_task, make_env
    from vmc.episode import Trajectory, run_episode
    from vmc.errors import VmcError
    from vmc.library import Run, load_run
    from vmc.models.dynamics.noise import Noise, draw_noise
    from vmc.pipeline import PipelineSettings, run_pipeline
    from vmc.recipes import Recipe, add_recipes, find_recipe, load_recipe
    from vmc.storage.rollouts import RolloutDataset

__version__ = VERSION

_HOMES = {
    "vmc.dream.settings": ("DreamSettings",),
    "vmc.dream.world": ("DreamWorld",),
    "vmc.models.dynamics.noise": ("Noise", "draw_noise"),
    "vmc.envs": ("Task", "add_task", "make_env"),
    "vmc.episode": ("Trajectory", "run_episode"),
    "vmc.errors": ("VmcError",),
    "vmc.control.cma_es": ("Search", "SearchSettings"),
    "vmc.library": ("Run", "load_run"),
    "vmc.pipeline": ("PipelineSettings", "run_pipeline"),
    "vmc.recipes": ("Recipe", "add_recipes", "find_recipe", "load_recipe"),
    "vmc.storage.rollouts": ("RolloutDataset",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "DreamSettings",
    "DreamWorld",
    "Noise",
    "PipelineSettings",
    "Recipe",
    "RolloutDataset",
    "Run",
    "Search",
    "SearchSettings",
    "Task",
    "Trajectory",
    "VmcError",
    "add_recipes",
    "add_task",
    "draw_noise",
    "find_recipe",
    "load_recipe",
    "load_run",
    "make_env",
    "run_episode",
    "run_pipeline",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


# By name, so that nothing of the dream is imported before one is made.
gymnasium.register(
    "vmc/Dream-v0",
    entry_point="vmc.dream.env:DreamEnv",
    vector_entry_point="vmc.dream.vector_env:DreamVectorEnv",
    max_episode_steps=1000,
)
