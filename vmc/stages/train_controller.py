"""Stage `train-controller`: finds C, with a fitness from the real environment or from the dream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from vmc.config import pick
from vmc.control.actor_critic import ActorCritic, ActorCriticSettings
from vmc.control.evolution import Evolution, EvolutionSettings
from vmc.control.experience import Collect, DreamCollect, RealCollect
from vmc.control.fitness import Fitness
from vmc.control.loop import LoopSettings, SearchLoop, SearchState
from vmc.control.ppo import PPO, PPOSettings
from vmc.control.real_experience import Episode, ExperienceJob, ExperienceWorker
from vmc.control.real_fitness import EpisodeWorker, RealFitness
from vmc.control.return_accumulator import SoftCap
from vmc.control.trainer import Array, Fixed, Trainer
from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld
from vmc.envs import action_map_from_json, check_env, get_task
from vmc.envs.action_map import OneHotActionMap
from vmc.episode import Limits
from vmc.errors import VmcError
from vmc.executors import Executor, Workers, make_executor
from vmc.models.agent import Body, load_body
from vmc.models.checkpoints import (
    TRAIN_MDRNN,
    TRAIN_VAE,
    controller_folder,
    dynamics_folder,
    require_finished,
    vae_folder,
)
from vmc.models.controller import PlannerSettings
from vmc.models.loading import dynamics_of
from vmc.stages.device import choose_device, one_thread
from vmc.stages.dreaming import DreamSource, dream_fitness, find_starts, fingerprint_of_starts
from vmc.stages.settings import TrainControllerSettings
from vmc.storage.files import locked


def train_controller(
    settings: TrainControllerSettings,
    data: Path,
    run: Path,
    device_name: str,
    workers: Workers,
    loggers: Sequence[str] = (),
) -> SearchState:
    """Searches for C, or goes on where the search was stopped, to the bit.

    When V or M have changed (a new round), when the fitness moves between dream and real environment, or when `init`
    changes, a new phase begins.

    Raises:
        VmcError: V or M missing or unfinished, or they do not belong together; settings that changed.
    """
    if settings.validate_in == "dream" and not settings.dream:
        raise VmcError("C is validated in the dream, but its fitness is real.", "Give --dream, or --validate-in real.")
    _check_place(settings)
    for folder, command in ((vae_folder(run), TRAIN_VAE), (dynamics_folder(run), TRAIN_MDRNN)):
        require_finished(folder, command)
    if not settings.dream or settings.validate_in == "real":
        check_env(settings.env, settings.max_steps)  # compiles what the workers need, before they are timed
    inputs_of_c = settings.inputs or get_task(settings.env).controller_inputs
    body = load_body(run, settings.env)
    shape = body.controller_shape(inputs_of_c, settings.hidden_units)
    inputs: dict[str, Any] = {**body.source, "fitness": "dream" if settings.dream else "real", "init": settings.init}
    if settings.trainer != "cma-es":
        inputs["trainer"] = settings.trainer
    if settings.dream:
        inputs["data"] = fingerprint_of_starts(data, run)
    planning = PlannerSettings(**pick(PlannerSettings, settings)) if settings.trainer == "planner" else None
    info: dict[str, Any] = {"dream": asdict(_dream(settings))}
    folder, loop = controller_folder(run), LoopSettings(**pick(LoopSettings, settings))
    if planning is not None:
        info["planning"], loop = asdict(planning), replace(loop, generations=0)
    source = DreamSource(settings.env, data, run, shape, settings.seed, settings.start_episodes)
    device = choose_device(device_name)
    with (
        locked(folder),
        _fitness(settings, body, source, device_name, workers, planning) as fitness,
        # For the episodes that PPO learns from; its workers start with the first job.
        closing(make_executor(partial(ExperienceWorker, body, settings.env, shape), workers)) as executor,
        one_thread(device),  # the last bits of what a gradient finds may depend on the number of threads
    ):

        def make_trainer(mean: Array | None, phase: int) -> Trainer:
            if planning is not None:
                return Fixed(np.zeros(shape.num_parameters) if mean is None else mean)
            if settings.trainer == "actor-critic":
                return _actor_critic(settings, body, source, device, mean, phase)
            if settings.trainer == "ppo":
                return _ppo(settings, body, source, executor, device, mean, phase)
            evolution = EvolutionSettings(**pick(EvolutionSettings, settings))
            return Evolution(evolution, fitness.training, shape.num_parameters, mean, phase)

        parts = (loop, settings, folder, shape, inputs, info, make_trainer)
        return SearchLoop(*parts, fitness.validation, loggers).run()


def _check_place(settings: TrainControllerSettings) -> None:
    if settings.trainer == "actor-critic" and not settings.dream:
        raise VmcError("An actor-critic learns in the dream alone.", "Give --dream, or --trainer cma-es.")
    if settings.trainer == "planner" and settings.dream:
        raise VmcError("A planner acts in the real environment alone.", "Leave out --dream, or --trainer.")


def _actor_critic(
    settings: TrainControllerSettings,
    body: Body,
    source: DreamSource,
    device: torch.device,
    mean: Array | None,
    phase: int,
) -> ActorCritic:
    model = dynamics_of(body.dynamics).to(device)
    starts = cache(lambda: find_starts(source, device)[0])
    parts = source.controller, action_map_from_json(body.dynamics.info["action_map"]), _dream(settings)
    options = ActorCriticSettings(**pick(ActorCriticSettings, settings))
    return ActorCritic(options, model, starts, *parts, mean, phase)


def _ppo(
    settings: TrainControllerSettings,
    body: Body,
    source: DreamSource,
    executor: Executor[ExperienceJob, Episode],
    device: torch.device,
    mean: Array | None,
    phase: int,
) -> PPO:
    action_map = action_map_from_json(body.dynamics.info["action_map"])
    if settings.dream:
        world = DreamWorld(dynamics_of(body.dynamics).to(device))
        starts = cache(lambda: find_starts(source, device)[0])
        parts = world, starts, action_map, _dream(settings), settings.rollouts, settings.seed, phase
        collect: Collect = DreamCollect(*parts)
    else:
        collect = RealCollect(executor, _training_limits(settings), settings.rollouts, settings.seed)
    is_discrete = isinstance(action_map, OneHotActionMap)
    options = PPOSettings(**pick(PPOSettings, settings))
    return PPO(options, collect, source.controller, is_discrete, device, mean, phase)


class _Fitness(NamedTuple):
    """The fitness of candidates, and that of the C that is validated, which has no `no_reward_limit`."""

    training: Fitness
    validation: Fitness


@contextmanager
def _fitness(
    settings: TrainControllerSettings,
    body: Body,
    source: DreamSource,
    device_name: str,
    workers: Workers,
    planning: PlannerSettings | None,
) -> Iterator[_Fitness]:
    with ExitStack() as stack:
        limits = Limits(settings.max_steps)
        # Workers start with the first job, so these cost nothing without one.
        make_worker = partial(EpisodeWorker, body, settings.env, source.controller, planning)
        executor = stack.enter_context(closing(make_executor(make_worker, workers)))
        real = RealFitness(executor, limits)
        if settings.dream:
            training_options = _soft_cap(settings), settings.action_noise
            opened = dream_fitness(source, _dream(settings), device_name, workers, *training_options)
            training, validation = stack.enter_context(opened)
            yield _Fitness(training, real if settings.validate_in == "real" else validation)
        else:
            yield _Fitness(RealFitness(executor, _training_limits(settings)), real)


def _training_limits(settings: TrainControllerSettings) -> Limits:
    return Limits(settings.max_steps, settings.no_reward_limit)


def _dream(settings: TrainControllerSettings) -> DreamSettings:
    return DreamSettings(**pick(DreamSettings, settings))


def _soft_cap(settings: TrainControllerSettings) -> SoftCap | None:
    if settings.reward_soft_cap is None:
        return None
    return SoftCap(settings.reward_soft_cap, settings.reward_cap_window, settings.reward_cap_slope)
