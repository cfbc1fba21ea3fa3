"""A model-free peer: Stable-Baselines3's PPO on our fast CarRacing, with the settings of RL Baselines3 Zoo.

    pip install stable-baselines3 opencv-python-headless
    python benchmarks/ppo.py --frames 1000000 --seed 0 --run results/ppo-1m-seed-0

A step of PPO is two frames of the environment, since the Zoo's settings repeat each action; `--frames` counts all of
them. The learning rate falls to 0 over the frames, so a shorter training is a run of its own. A stopped training goes
on from its last checkpoint; the episodes that were under way begin again, and `resumed` counts that.

`ppo.json` in the run has the settings, a curve on validation tracks (which chooses nothing, so its frames are not
counted), and the returns on the test tracks of `vmc test --seed SEED`, by the policy's mean actions.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import GrayscaleObservation, ResizeObservation
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecFrameStack, VecNormalize

from vmc.envs import CARRACING, FAST_CARRACING
from vmc.executors import ExecutorSettings, available_cores, make_executor, processor
from vmc.seeding import env_seed
from vmc.stages.evaluate import summary
from vmc.storage.checkpoint import versions
from vmc.storage.files import replacing, write_json

_FRAMES_PER_STEP = 2
_NUM_ENVS = 8
# RL Baselines3 Zoo 2.9.2, hyperparams/ppo.yml, CarRacing-v3.
_SETTINGS: dict[str, Any] = {
    "n_steps": 512,
    "batch_size": 128,
    "n_epochs": 10,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "clip_range": 0.2,
    "ent_coef": 0.0,
    "vf_coef": 0.5,
    "max_grad_norm": 0.5,
    "use_sde": True,
    "sde_sample_freq": 4,
}
_LEARNING_RATE = 1e-4
_POLICY = {
    "log_std_init": -2,
    "ortho_init": False,
    "activation_fn": torch.nn.GELU,
    "net_arch": {"pi": [256], "vf": [256]},
}
# In the folder of a run.
_WEIGHTS, _RECORD = "ppo.pt", "progress.json"


class _RepeatAction(gym.Wrapper[Any, Any, Any, Any]):
    """Applies each action to two frames, sums their rewards, and shows the second frame."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        total = 0.0
        for _ in range(_FRAMES_PER_STEP):
            frame, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return frame, total, terminated, truncated, info


def _make_env() -> gym.Env[Any, Any]:
    env = ResizeObservation(_RepeatAction(gym.make(FAST_CARRACING)), (64, 64))
    return GrayscaleObservation(env, keep_dim=True)


def _stacked(env: VecEnv) -> VecEnv:
    return VecFrameStack(env, n_stack=2)


def _new_ppo(env: VecEnv, seed: int) -> PPO:
    options = {**_SETTINGS, "learning_rate": lambda remaining: _LEARNING_RATE * remaining, "policy_kwargs": _POLICY}
    return PPO("CnnPolicy", env, seed=seed, device="cpu", **options)


class _Training(BaseCallback):
    """PPO in a folder: a point of the curve and a checkpoint at equal distances.

    Args:
        frames: of the whole training.
        points: of the curve, the end included.
        episodes: of each point.
    """

    def __init__(self, folder: Path, frames: int, seed: int, points: int, episodes: int) -> None:
        super().__init__()
        self._folder, self._steps = folder, frames // _FRAMES_PER_STEP
        self._distance = self._steps / points
        self._seeds = [env_seed(seed, "validation", episode) for episode in range(episodes)]
        self.record: dict[str, Any] = {"steps": 0, "seconds": 0.0, "resumed": 0, "curve": []}
        env = SubprocVecEnv([_make_env] * _NUM_ENVS, start_method="spawn")
        self._env = VecNormalize(_stacked(env), norm_obs=False, gamma=_SETTINGS["gamma"])
        self.ppo = _new_ppo(self._env, seed)
        if (folder / _RECORD).exists():
            self._load()

    def run(self) -> None:
        """Trains to the end."""
        self._started = time.monotonic()
        left = self._steps - self.record["steps"]
        if left > 0:
            self.ppo.learn(left, callback=self, log_interval=None, reset_num_timesteps=False)
            self._keep()
        self._env.close()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= (len(self.record["curve"]) + 1) * self._distance:
            self._keep()

    def _keep(self) -> None:
        record, steps = self.record, self.ppo.num_timesteps
        record["seconds"] += time.monotonic() - self._started
        returns = _returns(self.ppo, self._seeds)
        point = {"real_frames": steps * _FRAMES_PER_STEP, "seconds": round(record["seconds"]), **summary(returns)}
        record["curve"].append(point)
        rewards = self._env.ret_rms
        record |= {"steps": steps, "rewards": [float(rewards.mean), float(rewards.var), float(rewards.count)]}
        with replacing(self._folder / _WEIGHTS) as path:
            torch.save({**self.ppo.get_parameters(), "steps": steps}, path)
        write_json(self._folder / _RECORD, record)
        print(json.dumps(point), flush=True)
        self._started = time.monotonic()

    def _load(self) -> None:
        self.record = json.loads((self._folder / _RECORD).read_text(encoding="utf-8"))
        parameters = torch.load(self._folder / _WEIGHTS, weights_only=True)
        self.ppo.num_timesteps = self.record["steps"] = parameters.pop("steps")
        self.ppo.set_parameters(parameters)
        rewards = self._env.ret_rms
        rewards.mean, rewards.var, rewards.count = (np.float64(value) for value in self.record["rewards"])
        self.record["resumed"] += self.record["steps"] < self._steps


class _Driver:
    """Runs whole episodes by the policy's mean actions; a worker of `vmc.executors`."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        torch.set_num_threads(1)
        self._env = _make_env()
        self._ppo = _new_ppo(_stacked(DummyVecEnv([lambda: self._env])), seed=0)
        self._ppo.policy.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})

    def run(self, seed: int) -> float:
        frame, _ = self._env.reset(seed=seed)
        before, total, is_over = np.zeros_like(frame), 0.0, False
        while not is_over:
            action, _ = self._ppo.predict(np.concatenate([before, frame], axis=-1), deterministic=True)
            before = frame
            frame, reward, terminated, truncated, _ = self._env.step(action)
            total, is_over = total + float(reward), terminated or truncated
        return total

    def close(self) -> None:
        self._env.close()


def _returns(ppo: PPO, seeds: Sequence[int]) -> list[float]:
    """An episode for each seed."""
    returns = [0.0] * len(seeds)
    weights = {name: value.numpy() for name, value in ppo.policy.state_dict().items()}
    with closing(make_executor(partial(_Driver, weights), ExecutorSettings())) as executor:
        for position, result in executor.map(list(seeds)):
            returns[position] = result
    return returns


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=4_000_000, help="Of the environment, for training.")
    parser.add_argument("--seed", type=int, default=0, help="Of PPO, of the validation tracks and of the test tracks.")
    parser.add_argument("--run", type=Path, required=True, help="The folder to write to.")
    parser.add_argument("--points", type=int, default=10, help="Of the curve.")
    parser.add_argument("--validation-episodes", type=int, default=16, help="Of each point.")
    parser.add_argument("--episodes", type=int, default=100, help="Of the test.")
    given = parser.parse_args()
    given.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(available_cores())
    training = _Training(given.run, given.frames, given.seed, given.points, given.validation_episodes)
    training.run()
    returns = _returns(training.ppo, [env_seed(given.seed, "test", episode) for episode in range(given.episodes)])
    result = {
        "command": f"python benchmarks/ppo.py --frames {given.frames} --seed {given.seed} --run {given.run.as_posix()}",
        "env": CARRACING,
        "frames": given.frames,
        "seed": given.seed,
        **summary(returns),
        "returns": returns,
        "hours": round(training.record["seconds"] / 3600, 3),
        "resumed": training.record["resumed"],
        "curve": training.record["curve"],
        "settings": {**_SETTINGS, "num_envs": _NUM_ENVS, "frames_per_step": _FRAMES_PER_STEP},
        "machine": f"{processor()}, {available_cores()} cores",
        "versions": {**versions(), "stable_baselines3": version("stable_baselines3")},
    }
    write_json(given.run / "ppo.json", result)
    print(json.dumps({name: result[name] for name in ("mean", "std", "ci95", "hours")}))


if __name__ == "__main__":
    main()
