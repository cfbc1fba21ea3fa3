"""Describes what a path holds, and checks its integrity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vmc.errors import VmcError
from vmc.models.checkpoints import STARTS, dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.stages.results import read_result
from vmc.storage.checkpoint import checkpoint_faults, load_checkpoint
from vmc.storage.files import read_json
from vmc.storage.journal import read_journal
from vmc.storage.rollouts import RolloutDataset, check_shard

_FOLDERS = {"vae": "V", "mdrnn": "M", "controller": "C"}
# Makes the lines of one part of what is inspected.
Part = Callable[[], Iterator[str]]


def inspect_path(path: Path) -> Iterator[str]:
    """Lines that say what a run, a checkpoint, a stage's folder, a data folder or a latents file holds.

    Every byte is read and compared with its checksum. All that is missing or corrupt is told, each in its own line.

    Raises:
        VmcError: nothing is there, or it is none of these; at the end, if anything is missing or corrupt.
    """
    if not path.exists():
        raise VmcError(f"There is nothing at {path}.")
    faults: list[VmcError] = []
    for part in _parts(path):
        yield from _guarded(part, faults)
    if not faults and _is_run(path):
        yield from _guarded(partial(_agent, path), faults)
    if faults:
        files = "1 file is" if len(faults) == 1 else f"{len(faults)} files are"
        raise VmcError(
            f"{path}: {files} missing or corrupt, as told above.",
            "Begin with the first one: what comes after it was made from it.",
        )


def _guarded(part: Part, faults: list[VmcError]) -> Iterator[str]:
    """A part's lines; an error among them becomes a line, too, and a fault."""
    try:
        yield from part()
    except VmcError as fault:
        faults.append(fault)
        yield str(fault)


def _parts(path: Path) -> Iterator[Part]:
    """What is looked at, one after another: an error in one leaves the others."""
    if path.is_dir() and any(path.glob("*.h5")) and not (path / "latents.h5").exists():
        yield from _data(path)
    elif _is_run(path):
        yield lambda: iter([f"{path}: a run"])
        for folder in _FOLDERS:
            yield from _stage(path / folder)
        if (path / "latents.h5").exists():
            yield partial(_hdf5, path / "latents.h5")
        for file in sorted([path / "run.json", *path.glob("*/config.json"), *path.glob("*/report.json")]):
            yield partial(_json, file)
        for file in sorted([*path.glob("*.jsonl"), *path.glob("*/metrics.jsonl")]):
            yield partial(_json_lines, file)
        for score in sorted(set(path.glob("test*.json")) - set(path.glob("test-temperatures*.json"))):
            yield partial(_score, score)
    elif path.is_dir() and any((path / f"{name}.json").exists() for name in ("best", "latest")):
        yield from _stage(path)
    elif path.name.startswith("test") and path.suffix == ".json":
        yield partial(_score, path)
    elif path.name in ("best.json", "latest.json", f"{STARTS}.json"):
        yield from _checkpoint(path.parent, path.stem)
    elif path.suffix == ".h5" and path.is_file():
        yield partial(_hdf5, path)
    else:
        raise VmcError(f"{path} is no run, checkpoint, data folder or latents file of vmc.")


def _is_run(path: Path) -> bool:
    return path.is_dir() and any((path / folder).is_dir() for folder in _FOLDERS)


def _agent(path: Path) -> Iterator[str]:
    if all((path / folder / "best.json").exists() for folder in _FOLDERS):
        vae = vae_checkpoint(path)
        load_controller(path, vae, dynamics_checkpoint(path, vae))
        yield f"  V, M and C belong together; trained on {vae.info['env']}"


def _stage(path: Path) -> Iterator[Part]:
    present = [name for name in ("best", "latest", STARTS) if (path / f"{name}.json").exists()]
    # A training keeps its first `best` before its first `latest`.
    for name in ["best", *present] if present == ["latest"] else present:
        yield from _checkpoint(path, name)


def _checkpoint(folder: Path, name: str) -> Iterator[Part]:
    """One part for each file that is missing or corrupt, or what the checkpoint holds."""
    command = f"vmc train-{folder.name}"
    faults = checkpoint_faults(folder, name, command)
    for fault in faults:
        yield partial(_raise, fault)
    if not faults:
        yield partial(_content, folder, name, command)


def _raise(fault: VmcError) -> Iterator[str]:
    raise fault


def _content(folder: Path, name: str, command: str) -> Iterator[str]:
    checkpoint = load_checkpoint(folder, name, command)
    size = sum(array.size for array in checkpoint.weights.values())
    kind = "starts of dreams" if name == STARTS else _FOLDERS.get(folder.name, "a model")
    yield f"{checkpoint.path}: {kind}, {size:,} numbers, SHA-256 {checkpoint.sha256[:12]}, intact"
    for key in ("kind", "model", "metrics", "validation_return", "generation", "epoch", "finished", "state"):
        if key in checkpoint.info:
            yield f"  {key}: {_short(checkpoint.info[key])}"


def _data(path: Path) -> Iterator[Part]:
    """One part for each shard that is corrupt, or what all of them hold."""
    faults = [fault for shard in sorted(path.glob("*.h5")) if (fault := _fault_of(shard)) is not None]
    for fault in faults:
        yield partial(_raise, fault)
    if not faults:
        yield partial(_episodes, path)


def _fault_of(shard: Path) -> VmcError | None:
    try:
        check_shard(shard)
    except VmcError as fault:
        return fault
    return None


def _episodes(path: Path) -> Iterator[str]:
    dataset = RolloutDataset(path)
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


def _json(path: Path) -> Iterator[str]:
    """Nothing is told of a file that can be read."""
    read_json(path, "Move it away, and run its stage again.")
    yield from ()


def _json_lines(path: Path) -> Iterator[str]:
    """Nothing is told of a file that can be read."""
    read_journal(path, "Move it away, and run its stage again.")
    yield from ()


def _score(path: Path) -> Iterator[str]:
    result = read_result(path)
    if result is None:
        raise VmcError(f"There is nothing at {path}.")
    where = "in the dream" if result["dream"] else f"on {result['env']}"
    yield f"{path}: {result['mean']:.1f} ± {result['std']:.1f} over {len(result['episodes'])} episodes {where}"


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:40]
