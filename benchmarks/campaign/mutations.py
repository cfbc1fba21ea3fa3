"""What can become of a file: damage, exchange with another run's, other contents with a valid hash, other things."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import load, save

# Changes a file in place, by a random stream; False where it does not apply to this file.
Mutation = Callable[[Path, Path, np.random.Generator], bool]
_ODD: tuple[Any, ...] = (None, True, -1, 1e308, 2**70, "text", "", [], {}, [[]], "../../outside", "/etc/hostname", 0.5)
_ODD_ARRAYS = ("nan", "inf", "zeros", "int64", "float64", "transposed", "empty", "scalar", "missing", "extra", "huge")


def truncated(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """Ends somewhere before its end."""
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))] if data else b"")
    return bool(data)


def flipped(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """One to eight bits are others."""
    data = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 9))):
        if data:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(data))
    return bool(data)


def emptied(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """Holds nothing."""
    path.write_bytes(b"")
    return True


def removed(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """Is not there."""
    path.unlink()
    return True


def foreign(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """Is the same file of another run; a checkpoint comes with all that its sidecar names."""
    if not twin.exists():
        return False
    shutil.copyfile(twin, path)
    if path.parent != path.parent.parent and path.suffix == ".json":
        for other in twin.parent.glob(f"{twin.stem}-*"):
            shutil.copyfile(other, path.parent / other.name)
    return True


def random_bytes(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """Is no file of ours."""
    path.write_bytes(rng.bytes(int(rng.integers(1, 3000))))
    return True


def folder(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """Is a folder."""
    path.unlink()
    path.mkdir()
    return True


def link_to_itself(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """Is a link to itself."""
    path.unlink()
    path.symlink_to(path.name)
    return True


def link_outside(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """Is a link to a file outside the folder, with the same content."""
    outside = path.parents[len(path.parts) - 1 - path.parts.index("case")] / "outside.bin"
    shutil.move(path, outside)
    path.symlink_to(outside)
    return True


def unreadable(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """May not be read; for root, it is a device without end."""
    if os.geteuid():
        path.chmod(0)
    else:
        path.unlink()
        path.symlink_to("/dev/full")
    return True


def nested(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """Is nested too deeply."""
    path.write_text("[" * 200_000, encoding="utf-8")
    return path.suffix in (".json", ".jsonl", ".toml")


def other_value(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """One value of its JSON is another; hashes are made to fit, as far as a sidecar has one."""
    if path.suffix not in (".json", ".jsonl"):
        return False
    lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    at = int(rng.integers(len(lines)))
    content = json.loads(lines[at])
    places = list(_places(content))
    owner, key = places[int(rng.integers(len(places)))]
    owner[key] = _other(owner[key], rng)
    if isinstance(content, dict) and {"sha256", "files", "info"} <= content.keys():
        del content["sha256"]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        content = {"sha256": digest, **content}
    lines[at] = json.dumps(content)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return True


def other_arrays(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """An array of a safetensors file is another, and the sidecar is made to fit."""
    if path.suffix != ".safetensors":
        return False
    arrays = dict(load(path.read_bytes()))
    name = sorted(arrays)[int(rng.integers(len(arrays)))] if arrays else "new"
    kind = _ODD_ARRAYS[int(rng.integers(len(_ODD_ARRAYS)))]
    changed = _other_array(arrays.pop(name, np.zeros(1, np.float32)), kind)
    if changed is not None:
        arrays[name] = changed
    if kind == "extra":
        arrays["extra"] = np.zeros(3, np.float32)
    _rewrite(path, save(arrays))
    return True


def other_hdf5(path: Path, twin: Path, rng: np.random.Generator) -> bool:
    """A data set or an attribute of an HDF5 file is another, with valid checksums."""
    if path.suffix != ".h5":
        return False
    with h5py.File(path, "r+") as file:
        names = [*file, *(f"@{name}" for name in file.attrs)]
        name = names[int(rng.integers(len(names)))]
        if name.startswith("@"):
            file.attrs[name[1:]] = _ODD[int(rng.integers(3, 8))] if rng.random() < 0.8 else 7
            return True
        values = file[name][()]
        if rng.random() < 0.4 and values.dtype.kind in "fiub" and values.size:
            values.reshape(-1)[int(rng.integers(values.size))] += 1 if values.dtype.kind != "b" else True
        else:
            kind = _ODD_ARRAYS[int(rng.integers(len(_ODD_ARRAYS)))]
            values = _other_array(values, kind) if values.dtype.kind != "S" else np.zeros(len(values))
        del file[name]
        if values is not None:
            file[name] = values
    return True


MUTATIONS: dict[str, Mutation] = {
    mutation.__name__: mutation
    for mutation in (
        *(truncated, flipped, emptied, removed, foreign, random_bytes, folder, link_to_itself, link_outside),
        *(unreadable, nested, other_value, other_arrays, other_hdf5),
    )
}


def _places(content: Any) -> Any:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(items):
        yield content, key
        yield from _places(value)


def _other(value: Any, rng: np.random.Generator) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.4:
        return value + 1
    if isinstance(value, bool) and rng.random() < 0.5:
        return not value
    return _ODD[int(rng.integers(len(_ODD)))]


def _other_array(array: Any, kind: str) -> Any:
    changed = np.array(array)
    if kind in ("nan", "inf", "huge") and changed.dtype.kind == "f" and changed.size:
        changed.reshape(-1)[0] = {"nan": np.nan, "inf": np.inf, "huge": 1e30}[kind]
    elif kind in ("int64", "float64"):
        changed = changed.astype(kind)
    elif kind == "zeros":
        changed = np.zeros_like(changed)
    elif kind == "transposed":
        changed = np.ascontiguousarray(changed.T) if changed.ndim > 1 else changed[None]
    elif kind == "empty":
        changed = changed.reshape(-1)[:0]
    elif kind == "scalar":
        changed = np.zeros((), changed.dtype)
    elif kind == "missing":
        return None
    return changed


def _rewrite(path: Path, data: bytes) -> None:
    """Another content of a checkpoint's file, with a sidecar that names it and whose hashes are right."""
    digest = hashlib.sha256(data).hexdigest()
    for sidecar in path.parent.glob("*.json"):
        content = json.loads(sidecar.read_text(encoding="utf-8"))
        files = content.get("files", {}) if isinstance(content, dict) else {}
        for file in files.values():
            if file["name"] == path.name:
                file["sha256"], file["bytes"] = digest, len(data)
                del content["sha256"]
                own = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
                sidecar.write_text(json.dumps({"sha256": own, **content}), encoding="utf-8")
                break
    path.write_bytes(data)
