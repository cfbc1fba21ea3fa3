"""Does take cover play as the paper's did? Random policies under named engine settings.

    python benchmarks/doom_calibration.py [--episodes 100] [--out results/doom-calibration.json]

The paper's random policy survives 210 +- 108 tics over 100 episodes. Episode i has the same seed in every row.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vmc.envs import BoxActionMap, make_env
from vmc.envs.doom import EngineSettings, TakeCover
from vmc.episode import Decision, Frame, Limits, Policy, run_episode
from vmc.policies import RandomPolicy
from vmc.seeding import env_seed, stream

PAPER = {"mean": 210.0, "std": 108.0, "episodes": 100}
LIMITS = Limits(max_steps=2100)
# Pictures change nothing that is measured here (the rows `resolution` and `hud` show it), so the small ones do.
SMALL = (160, 120)


@dataclass
class Held:
    """A new uniform action every `tics` tics; frame skip k with a new action a step is the same as k tics."""

    tics: int

    def reset(self, rng: np.random.Generator) -> None:
        self._rng, self._tic = rng, 0

    def act(self, frame: Frame) -> Decision:
        if self._tic % self.tics == 0:
            self._action = self._rng.uniform(-1, 1, 1).astype(np.float32)
        self._tic += 1
        return Decision(self._action)


class Recorder:
    """hardmaru's `extract.py`: drawn again when the frame's number is a multiple of n, n drawn again (1 to 10) too."""

    def reset(self, rng: np.random.Generator) -> None:
        self._rng, self._tic = rng, 0
        self._every = int(rng.integers(1, 11))

    def act(self, frame: Frame) -> Decision:
        if self._tic % self._every == 0:
            self._action = self._rng.uniform(-1, 1, 1).astype(np.float32)
            self._every = int(self._rng.integers(1, 11))
        self._tic += 1
        return Decision(self._action)


class Buttons:
    """Left and right pressed independently, as a sample of gym-doom's own action space would; both is neither."""

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def act(self, frame: Frame) -> Decision:
        left, right = self._rng.integers(0, 2, 2)
        return Decision(np.array([right - left], np.float32))


class Stay:
    def reset(self, rng: np.random.Generator) -> None: ...

    def act(self, frame: Frame) -> Decision:
        return Decision(np.zeros(1, np.float32))


def _held_1_to_10() -> Policy:
    return RandomPolicy(BoxActionMap.from_bounds([-1], [1]))


@dataclass(frozen=True)
class Row:
    name: str
    policy: Callable[[], Policy]
    settings: EngineSettings = field(default_factory=lambda: EngineSettings(resolution=SMALL))


def _every_tic() -> Policy:
    return Held(1)


ROWS = [
    Row("every tic", _every_tic),
    Row("every tic, resolution", _every_tic, EngineSettings(resolution=(640, 480))),
    Row("every tic, no hud", _every_tic, EngineSettings(resolution=SMALL, hud=False)),
    Row("every tic, start tic 1", _every_tic, EngineSettings(resolution=SMALL, start_tic=1)),
    *(Row(f"every tic, skill {k}", _every_tic, EngineSettings(k, resolution=SMALL)) for k in (1, 2, 3, 5)),
    Row("every 2 tics", lambda: Held(2)),
    Row("every 4 tics", lambda: Held(4)),
    Row("held 1 to 10 tics", _held_1_to_10),
    Row("held 1 to 10 tics, skill 5", _held_1_to_10, EngineSettings(5, resolution=SMALL)),
    Row("the original's recorder", Recorder),
    Row("independent buttons", Buttons),
    Row("stay", Stay),
]


def measure(row: Row, episodes: int, seed: int) -> dict[str, Any]:
    """Mean, standard deviation and 95% interval of the tics survived."""
    env, policy = TakeCover(row.settings), row.policy()
    lengths = np.array(
        [
            run_episode(env, policy, env_seed(seed, "test", i), stream(seed, "calibration", i), LIMITS).episode_length
            for i in range(episodes)
        ]
    )
    env.close()
    mean, std = float(lengths.mean()), float(lengths.std())
    error = std / episodes**0.5
    apart = (mean - PAPER["mean"]) / (error**2 + PAPER["std"] ** 2 / PAPER["episodes"]) ** 0.5
    return {
        "name": row.name,
        "settings": asdict(row.settings),
        "episodes": episodes,
        "mean": mean,
        "std": std,
        "ci95": [mean - 1.96 * error, mean + 1.96 * error],
        "median": float(np.median(lengths)),
        "max": int(lengths.max()),
        "standard_errors_from_paper": apart,
        "lengths": lengths.tolist(),
    }


def tics_per_second(tics: int, seed: int) -> float:
    """Of the environment as the pipeline uses it: engine, crop, resize; resets included."""
    env = make_env("VizdoomTakeCover-v1")
    policy, done, seconds = Held(1), 0, 0.0
    run_episode(env, policy, 0, stream(seed, "calibration", 0))  # compiles
    while done < tics:
        start = time.perf_counter()
        done += run_episode(env, policy, done, stream(seed, "calibration", done)).episode_length
        seconds += time.perf_counter() - start
    env.close()
    return done / seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("results") / "doom-calibration.json")
    options = parser.parse_args()
    rows = []
    for row in ROWS:
        rows.append(measure(row, options.episodes, options.seed))
        print(
            "{name:28} {mean:6.1f} +- {std:5.1f}  median {median:5.1f}  max {max:4}  "
            "{standard_errors_from_paper:+5.1f} standard errors from the paper".format(**rows[-1]),
            flush=True,
        )
    speed = tics_per_second(3000, options.seed)
    print(f"{speed:.0f} tics/s at 640x480, resize and resets included")
    versions = {name: version(name) for name in ("vizdoom", "gymnasium", "numpy")}
    result = {"paper": PAPER, "rows": rows, "tics_per_second": speed, "seed": options.seed, "versions": versions}
    options.out.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
