"""The cost of an episode: the environment, the policy loop, two workers, and collection to HDF5."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing, redirect_stderr
from functools import partial
from io import StringIO
from math import prod
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.envs.box2d.car_racing import CarRacing

from vmc.bench.floors import copy, gemm
from vmc.bench.interleaved import Entry, Result, compare
from vmc.bench.models import CONTROLLER, encoder_operations, make_models, make_run, recurrence_operations
from vmc.bench.road_follower import RoadFollower
from vmc.config import make_settings
from vmc.control.real_fitness import EpisodeJob, EpisodeWorker
from vmc.envs import CARRACING, FRAME_SHAPE, action_map_of, get_task, make_env
from vmc.envs.carracing import FastCarRacing
from vmc.envs.preprocess import PreprocessedFrames, resize
from vmc.episode import EpisodeResult, Limits, Trajectory, run_episode
from vmc.executors import Worker, make_executor
from vmc.models.agent import Agent, load_body
from vmc.models.controller import LinearController
from vmc.models.dynamics.lstm_step import LSTMStep
from vmc.models.vision.conv import to_input
from vmc.models.vision.encoder import Encoder
from vmc.policies import BrownianPolicy
from vmc.seeding import stream
from vmc.stages.collect import collect
from vmc.stages.settings import CollectSettings
from vmc.storage.frames import FramesInMemory, read_all_frames
from vmc.storage.rollouts import RolloutDataset


class _Counting:
    """A worker that counts for about as long as a real one drives: what a second core of this machine adds."""

    def run(self, job: EpisodeJob) -> EpisodeResult:
        total = 0
        steps = job.limits.max_steps or 0
        for number in range(10_000 * steps):
            total += number
        return EpisodeResult(job.env_seed, float(total), steps, terminated=False, truncated=True)

    def close(self) -> None:
        """Holds nothing."""


Actions = list[npt.NDArray[np.float32]]
OFFICIAL = "official"
# What a step must at least write.
_PICTURE_BYTES = {OFFICIAL: 96 * 96 * 3, "fast": 96 * 96 * 3, "no drawing": None}
_FRAME_BYTES = prod(FRAME_SHAPE)


class NotDrawing(CarRacing):
    """The official environment without a picture: the floor of what faster drawing can reach."""

    def _render(self, mode: str) -> Any:
        return None


def bench_environment(rounds: int, steps: int) -> list[Result]:
    """Steps/s on the road, reset included: official, fast, without drawing."""
    actions = _drive(steps)
    envs: dict[str, gym.Env[Any, Any]] = {OFFICIAL: CarRacing(), "fast": FastCarRacing(), "no drawing": NotDrawing()}
    entries = [Entry(name, partial(_replay, env, actions), _PICTURE_BYTES[name]) for name, env in envs.items()]
    return compare("environment, on the road", "steps", entries, rounds, copy())


def bench_policy_loop(rounds: int, steps: int) -> list[Result]:
    """Steps/s of environment, encoder, M and C on one thread; the driver's actions keep the car on the road."""
    actions = _drive(steps)
    crop = get_task(CARRACING).crop_rows
    official, fast = PreprocessedFrames(CarRacing(), crop), PreprocessedFrames(FastCarRacing(), crop)
    entries = [
        Entry("official + eager PyTorch", partial(_replay, official, actions, _torch_policy())),
        Entry("fast + eager PyTorch", partial(_replay, fast, actions, _torch_policy())),
        Entry("fast + ONNX Runtime (vmc)", partial(_replay, fast, actions, _agent().act)),
    ]
    return compare("policy loop, one thread", "steps", entries, rounds)


def bench_step(rounds: int, steps: int) -> list[Result]:
    """The time of a step: the whole and its parts, each alone and on one thread, in calls/s."""
    actions = _drive(steps)
    env, crop = FastCarRacing(), get_task(CARRACING).crop_rows
    picture, _ = env.reset(seed=0)
    frame, _ = PreprocessedFrames(FastCarRacing(), crop).reset(seed=0)
    (vae, dynamics), (encoder, step) = make_models(), _parts()
    latent, _ = encoder.encode(frame)
    state = step.initial(latent)
    agent, controller, action_map = _agent(), _controller(), action_map_of(CARRACING, env)
    parts: dict[str, tuple[Callable[[], Any], float | None]] = {
        "resize": (lambda: resize(np.ascontiguousarray(picture[:crop])), None),
        "V's encoder": (lambda: encoder.encode(frame), encoder_operations(vae)),
        "M's step": (lambda: step.observe(state, actions[0], latent), recurrence_operations(dynamics)),
        "C and action map": (
            lambda: action_map(controller.act(step.features(state))),
            2 * CONTROLLER.num_parameters,
        ),
    }
    entries = [
        Entry("whole step", partial(_replay, PreprocessedFrames(env, crop), actions, agent.act)),
        Entry("environment, no picture", partial(_replay, NotDrawing(), actions)),
        Entry("environment", partial(_replay, env, actions)),
        *(Entry(name, partial(_repeat, part, steps), operations) for name, (part, operations) in parts.items()),
    ]
    return compare("a step and its parts", "calls", entries, rounds, gemm(torch.device("cpu")))


def bench_workers(rounds: int, steps: int) -> list[Result]:
    """Steps/s of whole episodes on one worker process and on two, and what two of them gain without memory or I/O."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as executors:
        make_run(Path(folder))
        workers: dict[str, Callable[[], Worker[EpisodeJob, EpisodeResult]]]
        body = load_body(Path(folder), CARRACING)
        workers = {"": partial(EpisodeWorker, body, CARRACING, CONTROLLER), ", counting": _Counting}
        results = []
        for name, make_worker in workers.items():
            one, two = (executors.enter_context(closing(make_executor(make_worker, n))) for n in (1, 2))
            entries = [
                Entry(f"one worker{name}", partial(_episodes, one, steps)),
                Entry(f"two workers{name}", partial(_episodes, two, steps)),
            ]
            results += compare("workers", "steps", entries, rounds)
        return results


def bench_collection(rounds: int, steps: int) -> list[Result]:
    """Frames/s from the environment to the disk, one process, resize and compression included."""
    entries = [
        Entry("official + np.savez_compressed", partial(_collect_official, steps), _FRAME_BYTES),
        Entry("vmc rollouts", partial(_collect, steps), _FRAME_BYTES),
        Entry("nothing stored", partial(_explore, steps)),
    ]
    return compare("collection, one process", "steps", entries, rounds, copy())


def bench_loading(rounds: int, steps: int) -> list[Result]:
    """Frames/s from the disk's cache into memory, one process, and from there into shuffled batches for V."""
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        settings = make_settings(CollectSettings, CARRACING, {"episodes": 4, "max_steps": steps})
        collect(settings, Path(folder), None, workers=0)
        dataset = RolloutDataset(Path(folder))
        archive = Path(folder) / "frames.npz"
        frames = read_all_frames(dataset, dataset.episodes)
        np.savez_compressed(archive, frames=frames)
        batches = FramesInMemory(frames, batch_size=64, seed=0)
        entries = [
            Entry("np.load of np.savez_compressed", lambda: len(np.load(archive)["frames"]), _FRAME_BYTES),
            Entry("vmc's shards", lambda: len(read_all_frames(dataset, dataset.episodes)), _FRAME_BYTES),
            Entry("V's batches, from memory", lambda: sum(map(len, batches.epoch(0, 0))), _FRAME_BYTES),
        ]
        return compare("loading, one process", "frames", entries, rounds, copy())


def _drive(steps: int) -> Actions:
    """The actions of a drive on the road, which does not end within `steps`."""
    env, driver = NotDrawing(lap_complete_percent=2.0), RoadFollower()
    env.reset(seed=0)
    actions = []
    for _ in range(steps):
        actions.append(driver(env))
        env.step(actions[-1])
    return actions


def _replay(env: gym.Env[Any, Any], actions: Actions, policy: Callable[[Any], Any] | None = None) -> int:
    frame, _ = env.reset(seed=0)
    for action in actions:
        if policy is not None:
            policy(frame)
        frame, *_ = env.step(action)
    return len(actions)


def _repeat(part: Callable[[], Any], times: int) -> int:
    for _ in range(times):
        part()
    return times


def _controller() -> LinearController:
    return LinearController(CONTROLLER, np.zeros(CONTROLLER.num_parameters))


def _parts() -> tuple[Encoder, LSTMStep]:
    """V's encoder and M's step, from a run's checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        vae, dynamics = make_run(Path(folder))
        return Encoder(vae), LSTMStep(dynamics.weights, dynamics.graphs)


def _agent() -> Agent:
    agent = Agent(*_parts(), action_map_of(CARRACING, CarRacing()), sample_latents=True)
    agent.use(_controller())
    agent.reset(np.random.default_rng(0))
    return agent


def _torch_policy() -> Callable[[Any], Any]:
    """The agent as one would first write it: V's encoder, an LSTM and a linear layer in eager PyTorch."""
    vae, dynamics = make_models()
    controller = torch.nn.Linear(CONTROLLER.input_size, CONTROLLER.action_size)
    memory = [(torch.zeros(1, 1, dynamics.settings.hidden_size),) * 2]

    @torch.no_grad()
    def act(frame: npt.NDArray[np.uint8]) -> Any:
        mean, log_variance = vae.encode(to_input(torch.from_numpy(frame)[None]))
        latent = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        action = controller(torch.cat([latent, memory[0][0][0]], dim=1)).tanh()
        _, memory[0] = dynamics.lstm(torch.cat([latent, action], dim=1)[:, None], memory[0])
        return action.numpy()

    return act


def _episodes(executor: Any, steps: int) -> int:
    parameters = np.zeros(CONTROLLER.num_parameters)
    jobs = [EpisodeJob(parameters, seed, Limits(max_steps=steps)) for seed in range(8)]
    return sum(outcome.episode_length for _, outcome in executor.map(jobs))


def _collect(steps: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(CollectSettings, CARRACING, {"episodes": 2, "max_steps": steps // 2})
        with redirect_stderr(StringIO()):  # no progress in the table
            return collect(settings, Path(folder), None, workers=0).added_steps


def _explore(steps: int) -> int:
    env = make_env(CARRACING)
    policy = BrownianPolicy(action_map_of(CARRACING, env))
    for episode in range(2):
        run_episode(env, policy, episode, stream(0, "bench", episode), Limits(steps // 2))
    return steps // 2 * 2


def _collect_official(steps: int) -> int:
    env = PreprocessedFrames(CarRacing(), get_task(CARRACING).crop_rows)
    policy = BrownianPolicy(action_map_of(CARRACING, make_env(CARRACING)))
    with tempfile.TemporaryDirectory() as folder:
        for episode in range(2):
            trajectory = Trajectory()
            run_episode(env, policy, episode, stream(0, "bench", episode), Limits(steps // 2), trajectory)
            frames, actions = np.stack(trajectory.frames), np.stack(trajectory.actions)
            rewards = np.array(trajectory.rewards)
            path = Path(folder) / f"{episode}.npz"
            np.savez_compressed(path, frames=frames, actions=actions, rewards=rewards)
    return steps // 2 * 2
