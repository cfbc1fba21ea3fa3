"""Builds a world model of an environment of your own, from rollouts to a score, as a library.

python examples/custom_environment.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from vmc import PipelineSettings, Task, add_task, find_recipe, run_pipeline


class Pointer(gymnasium.Env[np.ndarray, np.ndarray]):
    """A point on a line, to be held at a mark that is elsewhere in each episode."""

    observation_space = gymnasium.spaces.Box(-2, 2, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._state = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self._state.copy(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._state[0] = np.clip(self._state[0] + 0.2 * action[0], -2, 2)
        return self._state.copy(), -float(abs(self._state[0] - self._state[1])), False, False, {}


# In a module of your own, named as in `--env my_module:Pointer-v0`, worker processes find these two lines as well.
gymnasium.register("Pointer-v0", entry_point=Pointer, max_episode_steps=40)
add_task("Pointer-v0", Task(hidden_size=16, controller_inputs="z"))


def main(folder: Path) -> None:
    # A file of your own is as good: `load_recipe("pointer.toml")`.
    recipe = find_recipe("laptop", "Pointer-v0").adapted(
        overrides={
            "train-mdrnn": {"epochs": 5},
            "train-controller": {"generations": 8, "population_size": 12, "step_size": 1.0},
            "test": {"episodes": 20},
        }
    )
    # No workers: the environment is known in this process only.
    settings = PipelineSettings(recipe, folder / "data", folder / "run", device="cpu", workers=0)
    score = run_pipeline(settings)[-1].metrics
    print(f"mean return {score['mean']:.1f} +- {score['std']:.1f}; a point that stands still has about -27")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
