"""The dream of a run, put together from its checkpoints and its latents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vmc.control.dream_fitness import BLOCK_SIZE, DreamFitness, DreamWorker
from vmc.control.return_accumulator import SoftCap
from vmc.dream.loading import load_dream, save_starts
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts, record_starts
from vmc.dream.world import DreamWorld
from vmc.envs import PREPROCESSINGS, action_map_from_json
from vmc.executors import Workers, make_executor
from vmc.models.checkpoints import STARTS, TRAIN_MDRNN, dynamics_checkpoint, dynamics_folder, vae_checkpoint
from vmc.models.controller import LinearSettings
from vmc.models.dynamics.contract import WorldModel
from vmc.models.loading import load_dynamics, load_vae
from vmc.seeding import stream
from vmc.stages.device import choose_device
from vmc.stages.encode import ensure_latents
from vmc.storage.checkpoint import Checkpoint, has_checkpoint, read_sidecar
from vmc.storage.latents import Latents
from vmc.storage.rollouts import RolloutDataset, check_env_matches, holds_episodes

# Kept beside M for those who have no data: a megabyte of moments, from no more episodes than fit in memory.
_KEPT_EPISODES, _KEPT_MOMENTS = 64, 512


@dataclass(frozen=True)
class DreamSource:
    """The parts of a dream: picklable, so that worker processes can make their own.

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

    It runs on worker processes of one thread each; on a GPU, in this process.

    Raises:
        VmcError: V or M missing or corrupt, or they do not belong together; neither data nor kept moments.
    """
    device = choose_device(device_name)
    if not begins_at_kept_moments(source.data, source.run):
        dataset = RolloutDataset(source.data)
        check_env_matches(dataset, source.env, PREPROCESSINGS)
        ensure_latents(source.run, dataset, device)  # before the workers, who would each encode
    block_size: int | None = BLOCK_SIZE
    if device.type != "cpu":
        workers, block_size = 0, None
    make_worker = partial(make_dream_worker, source, settings, device_name)
    with closing(make_executor(make_worker, workers)) as executor:
        training = DreamFitness(executor, False, soft_cap, action_noise, block_size)
        yield training, DreamFitness(executor, True, block_size=block_size)


def make_dream_worker(source: DreamSource, settings: DreamSettings, device_name: str) -> DreamWorker:
    """Loads M and the moments that dreams start at.

    Raises:
        VmcError: V or M missing or corrupt, or they do not belong together; neither data nor kept moments.
    """
    device = choose_device(device_name)
    find_starts = _kept_starts if begins_at_kept_moments(source.data, source.run) else _recorded_starts
    training, validation = find_starts(source, device)
    info = dynamics_checkpoint(source.run, vae_checkpoint(source.run)).info
    action_map = action_map_from_json(info["action_map"])
    world = DreamWorld(training.dynamics)
    return DreamWorker(world, settings, training, validation, source.controller, action_map)


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


def _recorded_starts(source: DreamSource, device: torch.device) -> tuple[DreamStarts, DreamStarts]:
    latents, vae = ensure_latents(source.run, RolloutDataset(source.data), device)
    dynamics, checkpoint = load_dynamics(source.run, vae)
    dynamics.to(device)
    newest = slice(-source.start_episodes, None)
    training, validation = (
        _starts(dynamics, checkpoint, latents, episodes[newest], source.seed)
        for episodes in (latents.training(), latents.validation())
    )
    return training, validation


def _kept_starts(source: DreamSource, device: torch.device) -> tuple[DreamStarts, DreamStarts]:
    starts = load_dream(source.run, str(device)).starts
    return starts, starts


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
