"""Checkpoints: safetensors files and a JSON sidecar, replaced atomically and checked by SHA-256. They hold no code.

The checkpoint `best` of a folder is `best.json` and the files that it names: arrays, and exported ONNX graphs. Each
file name holds a part of the file's hash, so a new checkpoint never overwrites the files of the old one. The
replacement of the sidecar is the commit.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save
from threadpoolctl import threadpool_info

from vmc.errors import VmcError
from vmc.extras import VERSION
from vmc.storage.files import parse_json, read_file, write_bytes, write_json

SCHEMA = 2
Arrays = Mapping[str, npt.NDArray[Any]]
# The kinds of files that hold arrays; all others are graphs.
_KINDS = ("weights", "state")
_ARRAYS, _GRAPH = ".safetensors", ".onnx"
_NAME = re.compile(r"[\w-][\w.-]*")


class Facts(dict[str, Any]):
    """A sidecar's `info`. A fact that is missing is told with the file's name."""

    def __init__(self, content: Mapping[str, Any], path: Path) -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, name: str) -> Any:
        raise VmcError(f"{self.path} does not say {name!r}.", "Restore it from a copy, or train in another folder.")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, loaded and verified.

    Attributes:
        path: the sidecar.
        info: the stage's entries: settings, metrics, hashes of its inputs.
        weights: the model's arrays.
        state: the arrays that a resumed stage needs (optimiser, search); empty if only weights were saved.
        graphs: exported ONNX graphs without weights, by name.
        sha256: the hash of the weights file. Later stages refer to this model by it.
    """

    path: Path
    info: dict[str, Any]
    weights: dict[str, npt.NDArray[Any]]
    state: dict[str, npt.NDArray[Any]]
    sha256: str
    graphs: dict[str, bytes] = field(default_factory=dict)


_PACKAGES = (
    *("torch", "numpy", "numba", "onnxruntime", "gymnasium", "vizdoom"),
    *("pygame-ce", "pygame", "box2d", "box2d-py", "cma", "h5py"),
)


@cache
def versions() -> dict[str, str]:
    """The versions of all software and hardware that can change a result.

    `blas` names NumPy's BLAS and the kernels that it chose for this processor. Other kernels round differently, and a
    difference in the last bits soon makes a different episode.
    """
    own = [info for info in threadpool_info() if info["user_api"] == "blas" and "numpy" in info["filepath"]]
    blas = ", ".join(f"{info['internal_api']} {info.get('architecture', '')}" for info in own)
    found = {"python": platform.python_version(), "machine": platform.machine(), "blas": blas, "vmc": VERSION}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def save_checkpoint(
    directory: Path,
    name: str,
    info: Any,
    weights: Arrays,
    state: Arrays | None = None,
    graphs: Mapping[str, bytes] | None = None,
) -> str:
    """Writes and commits checkpoint `name`, then removes the files of the checkpoint that it replaces.

    Returns:
        The SHA-256 of the weights file.

    Raises:
        VmcError: the folder cannot be written or the disk is full; the old checkpoint is still complete.
    """
    files = {"weights": _write(directory, f"{name}-weights", _ARRAYS, _serialised(weights))}
    if state is not None:
        files["state"] = _write(directory, f"{name}-state", _ARRAYS, _serialised(state))
    for kind, graph in (graphs or {}).items():
        files[kind] = _write(directory, f"{name}-{kind}", _GRAPH, graph)
    content = {"schema": SCHEMA, "files": files, "info": info, "versions": versions()}
    write_json(directory / f"{name}.json", {"sha256": _digest(content), **content})
    kept = {file["name"] for file in files.values()}
    for old in directory.glob(f"{name}-*"):
        if old.suffix in (_ARRAYS, _GRAPH) and old.name not in kept:
            old.unlink(missing_ok=True)
    return str(files["weights"]["sha256"])


def copy_checkpoint(checkpoint: Checkpoint, directory: Path) -> None:
    """Copies a verified checkpoint byte for byte: its hash stays the same, so references to it stay valid.

    Raises:
        VmcError: the folder cannot be written or the disk is full.
    """
    files = read_sidecar(checkpoint.path.parent, checkpoint.path.stem, "vmc")["files"].values()
    for name in [*(file["name"] for file in files), checkpoint.path.name]:  # the sidecar is the commit, so it is last
        write_bytes(directory / name, (checkpoint.path.parent / name).read_bytes())


def load_checkpoint(directory: Path, name: str, command: str) -> Checkpoint:
    """Loads and verifies checkpoint `name`.

    Args:
        command: the command that makes such a checkpoint, for the hint of an error.

    Raises:
        VmcError: the checkpoint is missing, has another schema, or has a wrong hash.
    """
    content = read_sidecar(directory, name, command)
    path = directory / f"{name}.json"
    found = {kind: _read(path, file, command) for kind, file in content["files"].items()}
    arrays = {
        kind: _arrays(directory / content["files"][kind]["name"], data)
        for kind, data in found.items()
        if kind in _KINDS
    }
    graphs = {kind: data for kind, data in found.items() if kind not in _KINDS}
    digest = content["files"]["weights"]["sha256"]
    return Checkpoint(path, content["info"], arrays["weights"], arrays.get("state", {}), digest, graphs)


def checkpoint_faults(directory: Path, name: str, command: str) -> list[VmcError]:
    """What is wrong with each missing or corrupt file of checkpoint `name`; empty where it is intact."""
    faults: list[VmcError] = []
    try:
        files = read_sidecar(directory, name, command)["files"]
    except VmcError as fault:
        return [fault]
    for file in files.values():
        try:
            _read(directory / f"{name}.json", file, command)
        except VmcError as fault:
            faults.append(fault)
    return faults


def has_checkpoint(directory: Path, name: str) -> bool:
    """Returns whether checkpoint `name` exists. It may be corrupt."""
    return (directory / f"{name}.json").exists()


def read_sidecar(directory: Path, name: str, command: str) -> dict[str, Any]:
    """Loads and verifies the sidecar alone, which is fast; raises a `VmcError` as `load_checkpoint` does."""
    path = directory / f"{name}.json"
    if not path.exists():
        # Beside a `latest`, a training would go on and never make this one again.
        goes_on = name == "best" and has_checkpoint(directory, "latest")
        hint = _way_out(path, command) if goes_on else f"Run `{command}` first."
        raise VmcError(f"There is no checkpoint {path}.", hint)
    try:
        content = dict(parse_json(read_file(path).decode()))
        digest = content.pop("sha256")
    except (OSError, ValueError, KeyError, TypeError):
        raise corrupt(path, command) from None
    if content.get("schema") != SCHEMA:
        raise VmcError(
            f"{path} has checkpoint schema {content.get('schema')}; this vmc reads schema {SCHEMA}.",
            "Use the vmc version that wrote it, or train again in another folder.",
        )
    if digest != _digest(content) or not _is_whole(content):
        raise corrupt(path, command)
    return content | {"info": Facts(content["info"], path)}


def _is_whole(content: Mapping[str, Any]) -> bool:
    """Whether a sidecar has what every sidecar has. The names of its files are names, not paths."""
    files, info = content.get("files"), content.get("info")
    if not (isinstance(info, dict) and isinstance(files, dict) and "weights" in files):
        return False
    entries = [file for file in files.values() if isinstance(file, dict)]
    names = [file[key] for file in entries for key in ("name", "sha256") if isinstance(file.get(key), str)]
    return len(names) == 2 * len(files) and all(_NAME.fullmatch(name) for name in names)


def corrupt(path: Path, command: str) -> VmcError:
    """Makes the error for a file whose bytes differ from the bytes that were written."""
    return VmcError(
        f"{path} is corrupt: its bytes are not those that were written (SHA-256).",
        f"Restore it from a copy, or remove its folder and run `{command}` again.",
    )


def _way_out(sidecar: Path, command: str) -> str:
    """What helps where a file of a checkpoint is lost.

    With `best` and `latest` gone, the command trains again from the beginning. With one of the two it would go on from
    there, or refuse to. Every other checkpoint can be removed alone.
    """
    names = ("best", "latest") if sidecar.stem in ("best", "latest") else (sidecar.stem,)
    present = [name for name in names if has_checkpoint(sidecar.parent, name)]
    removed = " and ".join(f"{name}.json" for name in present)
    return f"Restore it from a copy, or remove {removed} in {sidecar.parent} and run `{command}` again."


class Form(NamedTuple):
    """The shape and the type of an array."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def check_forms(path: Path, expected: Mapping[str, Form], arrays: Arrays) -> None:
    """Raises a `VmcError` that names the first array that is missing, unexpected, infinite or of another form."""
    for name in sorted(expected.keys() | arrays.keys()):
        found = Form(arrays[name].shape, str(arrays[name].dtype)) if name in arrays else None
        if found != expected.get(name):
            raise VmcError(
                f"{path}: {name} is {found or 'missing'}; this model expects {expected.get(name, 'no such array')}.",
                "The checkpoint belongs to a model with other settings; see `vmc inspect`.",
            )
        if not np.isfinite(arrays[name]).all():
            raise VmcError(f"{path}: {name} holds infinity.", "Restore it from a copy, or train in another folder.")


def _serialised(arrays: Arrays) -> bytes:
    # `ascontiguousarray` makes a 0-d array 1-d, so it is called only for arrays that are not contiguous.
    data: bytes = save({k: v if v.flags.c_contiguous else np.ascontiguousarray(v) for k, v in arrays.items()})
    return data


def _write(directory: Path, stem: str, suffix: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    path = directory / f"{stem}-{digest[:12]}{suffix}"
    write_bytes(path, data)
    return {"name": path.name, "sha256": digest, "bytes": len(data)}


def _read(sidecar: Path, file: dict[str, Any], command: str) -> bytes:
    path = sidecar.parent / file["name"]
    if not path.exists():
        raise VmcError(f"{path} is missing, but {sidecar.name} names it.", _way_out(sidecar, command))
    try:
        data = read_file(path)
    except OSError:
        raise corrupt(path, command) from None
    if hashlib.sha256(data).hexdigest() != file["sha256"]:
        raise corrupt(path, command)
    return data


def _arrays(path: Path, data: bytes) -> dict[str, npt.NDArray[Any]]:
    try:
        arrays = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:  # a KeyError for a type that NumPy lacks
        raise VmcError(f"{path} is no safetensors file that NumPy can read: {error}.") from None
    for name, array in arrays.items():
        if np.isnan(array).any():
            raise VmcError(f"{path}: {name} holds NaN.", "Restore it from a copy, or train again in another folder.")
    # Exported weights are float16 to save space; the models compute in float32.
    return {name: a.astype(np.float32) if a.dtype == np.float16 else a for name, a in arrays.items()}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
