"""Trains Stable-Baselines3's PPO inside a run's dream, then lets it act in the real environment.

    pip install stable-baselines3
    vmc rollouts --env vmc/Toy-v0 --episodes 300
    vmc train-vae --env vmc/Toy-v0
    vmc train-mdrnn --env vmc/Toy-v0
    python examples/ppo_in_the_dream.py results/vmc-toy-v0

PPO sees [z, h], what C sees, and no real step until the test: the toy pays at most 40, a constant action 24.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from vmc import make_env, run_episode
from vmc.models.agent import Agent
from vmc.models.checkpoints import dynamics_checkpoint, vae_checkpoint
from vmc.models.dynamics import make_step
from vmc.models.vision.encoder import Encoder


class DreamsForSB3(VecEnv):
    """A Gymnasium vector environment in same-step autoreset mode, as Stable-Baselines3 expects one."""

    def __init__(self, dreams: gymnasium.vector.VectorEnv, seed: int) -> None:
        self._dreams, self._seed = dreams, seed
        self.render_mode = dreams.render_mode
        super().__init__(dreams.num_envs, dreams.single_observation_space, dreams.single_action_space)

    def reset(self) -> np.ndarray:
        return self._dreams.reset(seed=self._seed)[0]

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        seen, rewards, terminated, truncated, infos = self._dreams.step(self._actions)
        rows: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(terminated | truncated):
            # PPO adds the value of the state in which a time limit cut an episode off.
            rows[row]["terminal_observation"] = infos["final_obs"][row]
            rows[row]["TimeLimit.truncated"] = bool(truncated[row] and not terminated[row])
        return seen, rewards.astype(np.float32), terminated | truncated, rows

    def close(self) -> None:
        self._dreams.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("Dreams share their settings; make others.")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("A dream is a row of a batch, not an object.")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


class PPOController:
    """A `vmc.models.controller.Controller`: what V and M make of the frames goes to PPO."""

    def __init__(self, policy: PPO) -> None:
        self._policy = policy

    def reset(self, rng: np.random.Generator) -> None:
        """PPO has no state of its own."""

    def act(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        return self._policy.predict(np.concatenate([features["z"], features["h"]]), deterministic=True)[0]


class AsTheyAre:
    """PPO's actions are the environment's own, so there is nothing to map."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        return outputs


def real_returns(run: Path, policy: PPO, episodes: int) -> list[float]:
    """The policy's returns in the real environment, where V and M make [z, h] of the frames."""
    vae = vae_checkpoint(run)
    dynamics = dynamics_checkpoint(run, vae)
    env = make_env(vae.info["env"])
    step = make_step(dynamics.info["kind"], dynamics.weights, dynamics.graphs)
    agent = Agent(Encoder(vae), step, AsTheyAre(env.action_space.shape[0]), dynamics.info["sample_latents"])
    agent.use(PPOController(policy))
    seeds = range(1_000_000, 1_000_000 + episodes)
    return [run_episode(env, agent, seed, np.random.default_rng(seed)).episode_return for seed in seeds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, default=200_000, help="dreamed steps of training")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--dream-length", type=int, default=40, help="steps after which a dream is truncated")
    parser.add_argument("--episodes", type=int, default=20, help="real episodes of the test")
    given = parser.parse_args()
    options = {
        "observations": "features",
        "max_episode_steps": given.dream_length,
        "autoreset_mode": "SameStep",
        "sample_termination": True,
    }
    dreams = gymnasium.make_vec("vmc:vmc/Dream-v0", num_envs=given.num_envs, run=given.run, **options)
    env = VecMonitor(DreamsForSB3(dreams, seed=0))
    policy = PPO("MlpPolicy", env, n_steps=64, batch_size=512, gamma=0.98, seed=0, device="cpu", verbose=1)
    before = real_returns(given.run, policy, given.episodes)
    policy.learn(given.steps)
    after = real_returns(given.run, policy, given.episodes)
    for when, returns in (("before", before), ("after", after)):
        print(f"{when} training: mean real return {np.mean(returns):.1f} +- {np.std(returns, ddof=1):.1f}")


if __name__ == "__main__":
    main()
