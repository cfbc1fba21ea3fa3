"""The whole chain on environments of several kinds, by the command line, each against its threshold.

    python benchmarks/environments.py [--only CartPole-v1] [--out results/environments.json]

Runs `vmc run` with each environment's own recipe of the default preset, 20 test episodes, and a random policy on the
same 20. `seconds` are those of the stages, so an interrupted run may go on. A row is added when its environment is
done; those that are there stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from vmc.envs import ActionMap, action_map_of, env_slug, make_env
from vmc.episode import Decision, Frame, run_episode
from vmc.seeding import env_seed, stream
from vmc.storage.rollouts import RolloutDataset

ENVIRONMENTS = (
    "CartPole-v1",
    "Pendulum-v1",
    "MountainCarContinuous-v0",
    "LunarLander-v3",
    "BipedalWalker-v3",
    "CarRacing-v3,continuous=False",
)
_EPISODES = 20


class _Uniform:
    """A new action at every step."""

    def __init__(self, action_map: ActionMap) -> None:
        self._action_map = action_map

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def act(self, frame: Frame) -> Decision:
        return Decision(self._action_map.sample(self._rng))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", help="Only this environment. May be given again.")
    parser.add_argument("--generations", type=int, help="Of C's search, in place of the environment's own.")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(), help="Where `data` and `results` of the runs are.")
    parser.add_argument("--out", type=Path, default=Path("results") / "environments.json")
    options = parser.parse_args()
    rows = json.loads(options.out.read_text()) if options.out.exists() else []
    done = {row["env"] for row in rows}
    for env in options.only or ENVIRONMENTS:
        if env in done:
            continue
        rows.append(_row(env, options.folder, options.workers, options.generations))
        rows.sort(key=lambda row: ENVIRONMENTS.index(row["env"]))
        options.out.write_text(json.dumps(rows, indent=1) + "\n")
        print(json.dumps(rows))


def _row(env: str, folder: Path, workers: int, generations: int | None) -> dict[str, Any]:
    data, run = (folder / name / env_slug(env) for name in ("data", "results"))
    command = ["vmc", "run", "--env", env, "--set", f"test.episodes={_EPISODES}"]
    if generations is not None:
        command += ["--set", f"train-controller.generations={generations}"]
    places = ["--data", str(data), "--run", str(run), "--workers", str(workers)]
    subprocess.run([sys.executable, "-m", *command, *places], check=True)
    test, records = (json.loads((run / name).read_text()) for name in ("test.json", "run.json"))
    found = {record["stage"]: record["metrics"] for record in records}
    threshold = gym.spec(env.split(",", maxsplit=1)[0]).reward_threshold
    return {
        "env": env,
        **{name: _rounded(test[name]) for name in ("mean", "std", "ci95", "min", "max")},
        "episodes": _EPISODES,
        "threshold": threshold,
        "reaches_threshold": None if threshold is None else test["mean"] >= threshold,
        "random": _random(env),
        "real_steps": _real_steps(data, found),
        "seconds": round(sum(record["seconds"] for record in records)),
        "command": " ".join(command),
        "versions": test["versions"],
    }


def _real_steps(data: Path, figures: dict[str, dict[str, float]]) -> int:
    """Of the data set and of C's search, its evaluations included."""
    episodes = RolloutDataset(data).episodes
    return sum(episode.length for episode in episodes) + int(figures["train-controller"]["real steps"])


def _random(name: str) -> dict[str, float]:
    env = make_env(name)
    policy = _Uniform(action_map_of(name, env))
    seeds = [env_seed(0, "test", episode) for episode in range(_EPISODES)]
    returns = [run_episode(env, policy, seed, stream(seed, "random")).episode_return for seed in seeds]
    env.close()
    return {"mean": _rounded(np.mean(returns)), "std": _rounded(np.std(returns, ddof=1))}


def _rounded(value: Any) -> Any:
    return [round(float(number), 2) for number in value] if isinstance(value, list) else round(float(value), 2)


if __name__ == "__main__":
    main()
