"""What a path holds, checked for integrity."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vmc.errors import VmcError
from vmc.models.checkpoints import STARTS, dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.rollouts import RolloutDataset

_FOLDERS = {"vae": "V", "mdrnn": "M", "controller": "C"}


def inspect_path(path: Path) -> Iterator[str]:
    """Lines that say what a run, a checkpoint, a stage's folder, a data folder or a latents file holds.

    Every byte is read and compared with its checksum.

    Raises:
        VmcError: nothing is there, it is none of these, or it is corrupt.
    """
    if not path.exists():
        raise VmcError(f"There is nothing at {path}.")
    if path.is_dir() and any(path.glob("*.h5")) and not (path / "latents.h5").exists():
        yield from _data(path)
    elif path.is_dir() and any((path / folder).is_dir() for folder in _FOLDERS):
        yield from _run(path)
    elif path.is_dir() and any((path / f"{name}.json").exists() for name in ("best", "latest")):
        yield from _stage(path)
    elif path.name in ("test.json", "test-dream.json"):
        yield from _score(path)
    elif path.name in ("best.json", "latest.json", f"{STARTS}.json"):
        yield from _checkpoint(path.parent, path.stem)
    elif path.suffix == ".h5" and path.is_file():
        yield from _hdf5(path)
    else:
        raise VmcError(f"{path} is no run, checkpoint, data folder or latents file of vmc.")


def _run(path: Path) -> Iterator[str]:
    yield f"{path}: a run"
    for folder in _FOLDERS:
        if (path / folder).is_dir():
            yield from _stage(path / folder)
    if all((path / folder / "best.json").exists() for folder in _FOLDERS):
        vae = vae_checkpoint(path)
        load_controller(path, vae, dynamics_checkpoint(path, vae))
        yield f"  V, M and C belong together; trained on {vae.info['env']}"
    if (path / "latents.h5").exists():
        yield from _hdf5(path / "latents.h5")
    for name in ("test.json", "test-dream.json"):
        if (path / name).exists():
            yield from _score(path / name)


def _stage(path: Path) -> Iterator[str]:
    for name in ("best", "latest", STARTS):
        if (path / f"{name}.json").exists():
            yield from _checkpoint(path, name)


def _checkpoint(folder: Path, name: str) -> Iterator[str]:
    checkpoint = load_checkpoint(folder, name, f"vmc train-{folder.name}")
    size = sum(array.size for array in checkpoint.weights.values())
    kind = "starts of dreams" if name == STARTS else _FOLDERS.get(folder.name, "a model")
    yield f"{checkpoint.path}: {kind}, {size:,} numbers, SHA-256 {checkpoint.sha256[:12]}, intact"
    for key in ("kind", "model", "metrics", "validation_return", "generation", "epoch", "finished", "state"):
        if key in checkpoint.info:
            yield f"  {key}: {_short(checkpoint.info[key])}"


def _data(path: Path) -> Iterator[str]:
    dataset = RolloutDataset(path)
    for stored in dataset.episodes:
        dataset.read(stored)  # compares it with its SHA-256
    returns = [episode.episode_return for episode in dataset.episodes]
    lengths = [episode.length for episode in dataset.episodes]
    yield f"{path}: {len(returns)} episodes of {dataset.env} in {len(dataset.sources)} shards, intact"
    yield f"  frames: {dataset.num_frames:,} ({dataset.preprocessing})"
    yield f"  returns: mean {np.mean(returns):.1f}, min {min(returns):.1f}, max {max(returns):.1f}"
    yield f"  lengths: mean {np.mean(lengths):.1f}, min {min(lengths)}, max {max(lengths)}"
    ends = Counter("terminated" if episode.terminated else "truncated" for episode in dataset.episodes)
    yield f"  ends: {_short(dict(ends))}"
    policies = Counter(dataset.sources[episode.path].policy["name"] for episode in dataset.episodes)
    yield f"  policies: {_short(dict(policies))}"
    yield f"  fingerprint: {dataset.fingerprint()}"
    dataset.close()


def _hdf5(path: Path) -> Iterator[str]:
    try:
        with h5py.File(path, "r") as file:
            if "means" not in file:
                raise VmcError(f"{path} is no latents file.", f"For episodes, inspect the folder {path.parent}.")
            frames, size = file["means"].shape
            for name in file:
                _ = file[name][:]  # reads every chunk, and so checks it
            yield f"{path}: latents of {frames:,} frames, Z {size}, {len(file['lengths'])} episodes, intact"
            yield f"  made by V {file.attrs['vae'][:12]}"
    except (OSError, KeyError) as error:
        raise VmcError(f"{path} cannot be read: {error}.", "Remove it; `vmc train-mdrnn` encodes again.") from None


def _score(path: Path) -> Iterator[str]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        where = "in the dream" if result["dream"] else f"on {result['env']}"
        count = len(result["episodes"])
    except (ValueError, KeyError, TypeError):
        raise VmcError(f"{path} is no result of `vmc test`.", "Run `vmc test` again.") from None
    yield f"{path}: {result['mean']:.1f} +- {result['std']:.1f} over {count} episodes {where}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:40]
