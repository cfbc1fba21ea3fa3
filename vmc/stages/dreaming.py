"""The dream of a run, put together from its checkpoints and its latents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vmc.control.dream_fitness import BLOCK_SIZE, GPU_BLOCK_SIZE, DreamFitness, DreamWorker
from vmc.control.return_accumulator import SoftCap
from vmc.dream.loading import load_dream, save_starts
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts, record_starts
from vmc.dream.world import DreamWorld
from vmc.envs import PREPROCESSINGS, action_map_from_json
from vmc.executors import Workers, executor_settings, make_executor
from vmc.models.checkpoints import STARTS, TRAIN_MDRNN, dynamics_checkpoint, dynamics_folder, vae_checkpoint
from vmc.models.controller import LinearSettings
from vmc.models.dynamics.contract import WorldModel
from vmc.models.loading import dynamics_of, load_dynamics, load_vae
from vmc.seeding import stream
from vmc.stages.device import choose_device, one_thread
from vmc.stages.encode import ensure_latents
from vmc.storage.checkpoint import Checkpoint, has_checkpoint, read_sidecar
from vmc.storage.latents import Latents
from vmc.storage.rollouts import RolloutDataset, check_env_matches, holds_episodes

# Kept beside M for those who have no data: a megabyte of moments, from no more episodes than fit in memory.
_KEPT_EPISODES, _KEPT_MOMENTS = 64, 512


@dataclass(frozen=True)
class DreamSource:
    """The parts of a dream.

    Attributes:
        controller: C's shape.
        seed: of the draws of z along the recorded episodes.
        start_episodes: dreams start in this many of the newest episodes. The first episodes of a run, by worse
            policies, show places that a better one does not visit.
    """

    env: str
    data: Path
    run: Path
    controller: LinearSettings
    seed: int
    start_episodes: int = 100


@contextmanager
def dream_fitness(
    source: DreamSource,
    settings: DreamSettings,
    device_name: str,
    workers: Workers,
    soft_cap: SoftCap | None = None,
    action_noise: float = 0.0,
) -> Iterator[tuple[DreamFitness, DreamFitness]]:
    """The dream's fitness from training episodes, shaped and with action noise, and from validation episodes.

    It runs on worker processes of one thread each, on those of a cluster that have a GPU each, or in this process,
    where that has one.

    Raises:
        VmcError: V or M missing or corrupt, or they do not belong together; neither data nor kept moments.
    """
    device = choose_device(device_name)
    there = device.type
    if not begins_at_kept_moments(source.data, source.run):
        check_env_matches(RolloutDataset(source.data), source.env, PREPROCESSINGS)
    block_size: int | None = BLOCK_SIZE
    if executor_settings(workers).gpus_per_worker and device_name != "cpu":
        there, block_size = "cuda", GPU_BLOCK_SIZE
    elif device.type != "cpu":
        workers, block_size = 0, None
    dynamics = dynamics_checkpoint(source.run, vae_checkpoint(source.run))
    make_worker = partial(make_dream_worker, dynamics, settings, source.controller, there)
    starts = cache(partial(find_starts, source, device))  # they cost nothing where there is nothing to dream
    with closing(make_executor(make_worker, workers, on_gpus=there == "cuda")) as executor:
        training = DreamFitness(executor, lambda: starts()[0], soft_cap, action_noise, block_size)
        yield training, DreamFitness(executor, lambda: starts()[1], block_size=block_size)


def make_dream_worker(
    dynamics: Checkpoint, settings: DreamSettings, controller: LinearSettings, device_name: str
) -> DreamWorker:
    """A worker that dreams with this M.

    Args:
        controller: C's shape.

    Raises:
        VmcError: an M of another kind; no such device.
    """
    model = dynamics_of(dynamics).to(choose_device(device_name))
    return DreamWorker(DreamWorld(model), settings, controller, action_map_from_json(dynamics.info["action_map"]))


def find_starts(source: DreamSource, device: torch.device) -> tuple[DreamStarts, DreamStarts]:
    """The moments of training and of validation episodes that dreams start at.

    Raises:
        VmcError: V or M missing or corrupt, or they do not belong together; neither data nor kept moments.
    """
    if begins_at_kept_moments(source.data, source.run):
        starts = load_dream(source.run, str(device)).starts
        return starts, starts
    latents, vae = ensure_latents(source.run, RolloutDataset(source.data), device)
    dynamics, checkpoint = load_dynamics(source.run, vae)
    dynamics.to(device)
    newest = slice(-source.start_episodes, None)
    with one_thread(device):  # the last bits may depend on the number of threads
        training, validation = (
            _starts(dynamics, checkpoint, latents, episodes[newest], source.seed)
            for episodes in (latents.training(), latents.validation())
        )
    return training, validation


def begins_at_kept_moments(data: Path, run: Path) -> bool:
    """Returns whether dreams start at the moments kept beside M: there is no data set, and the run has them.

    Validation dreams then start at the same moments as the others.
    """
    return not holds_episodes(data) and has_checkpoint(dynamics_folder(run), STARTS)


def fingerprint_of_starts(data: Path, run: Path) -> str:
    """A hash of the moments that dreams start at."""
    if begins_at_kept_moments(data, run):
        return str(read_sidecar(dynamics_folder(run), STARTS, TRAIN_MDRNN)["files"]["weights"]["sha256"])
    return RolloutDataset(data).fingerprint()


def keep_starts(run: Path, latents: Latents, seed: int, device: torch.device) -> None:
    """Keeps moments of the training episodes, with the best M's states, in the run: all that its dreams need.

    Raises:
        VmcError: V or M missing or corrupt; a folder that cannot be written.
    """
    dynamics, checkpoint = load_dynamics(run, load_vae(run)[1])
    generator = stream(seed, "mdrnn/starts")
    episodes = np.sort(generator.permutation(latents.training())[:_KEPT_EPISODES])
    starts = _starts(dynamics.to(device), checkpoint, latents, episodes, seed)
    kept = np.sort(generator.permutation(len(starts))[:_KEPT_MOMENTS])
    save_starts(run, starts.selected(kept), checkpoint)


def _starts(
    dynamics: WorldModel, checkpoint: Checkpoint, latents: Latents, episodes: npt.NDArray[np.int64], seed: int
) -> DreamStarts:
    info = checkpoint.info
    return record_starts(dynamics, latents, episodes, info["sample_latents"], seed, info["no_reward_limit"])
