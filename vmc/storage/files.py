"""Atomic replacement of files, checksums, and a lock on a folder."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import math
import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from vmc.errors import VmcError

PARTIAL_SUFFIX = ".partial"


class CannotWriteError(VmcError):
    """The system refuses to write a file."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success syncs that file and renames it to `path`.

    A kill -9 at any moment leaves either the complete old file or the complete new one.

    Raises:
        CannotWriteError: the disk is full, or the directory cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    with explained_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
            _sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # A power cut can undo the rename until the folder is synced.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yields a new HDF5 file in memory; on success `replacing` writes it to `path`.

    The file is in memory because HDF5 crashes the process at exit when it cannot flush a file to a full disk.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        yield file
    write_bytes(path, memory.getbuffer())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Writes a file atomically, as `replacing` does."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def remove_partials(directory: Path) -> None:
    """Removes the temporary files of killed writers; the caller must hold the directory's lock."""
    for partial in directory.glob(f"*{PARTIAL_SUFFIX}"):
        partial.unlink(missing_ok=True)


def read_file(path: Path) -> bytes:
    """The content of a regular file. Raises an `OSError` for a folder, a device or a pipe: these may not end."""
    if not path.is_file():
        raise OSError(f"{path} is no regular file")
    return path.read_bytes()


def parse_json(text: str) -> Any:
    """As `json.loads`. Raises a `ValueError` also for NaN, infinity, and what is nested too deeply."""
    try:
        return json.loads(text, parse_constant=_not_json, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _not_json(text: str) -> float:
    raise ValueError(f"JSON has no {text}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large")
    return value


def read_json(path: Path, way_out: str) -> Any:
    """Reads a JSON file; None if there is none.

    Raises:
        VmcError: it cannot be read, or is no JSON; `way_out` says what to do.
    """
    if not path.exists():
        return None
    try:
        return parse_json(read_file(path).decode())
    except (OSError, ValueError):
        raise VmcError(f"{path} is damaged.", way_out) from None


@contextmanager
def readable(path: Path, way_out: str) -> Iterator[None]:
    """Tells that a file does not hold what it should, where it cannot be used."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RuntimeError, AssertionError):
        raise VmcError(f"{path} is damaged: it does not hold what it should.", way_out) from None


def check_replaceable(path: Path, keys: Set[str]) -> None:
    """Raises a `VmcError` if a file is there that is no JSON object with these keys: it is not ours to replace."""
    if not path.exists():
        return
    try:
        value = parse_json(read_file(path).decode())
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict) or not keys <= value.keys():
        raise VmcError(f"{path} exists, and is no result of this command.", "Give another --json.")


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically. Raises a `ValueError` for NaN and infinity, which JSON does not have."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of the file in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


_SPACE = "Free some space or choose another folder"
_PERMISSION = "Choose a folder that you may write to"
_NAME = "Choose another folder, or move what is in the way"
# What the system's refusals mean, and what helps.
_EXPLAINED = {
    errno.ENOSPC: ("there is no space left on the device", _SPACE),
    errno.EDQUOT: ("the disk quota is used up", _SPACE),
    errno.EFBIG: ("the file is larger than the file system or a limit allows", _SPACE),
    errno.EACCES: ("permission denied", _PERMISSION),
    errno.EPERM: ("operation not permitted", _PERMISSION),
    errno.EROFS: ("the file system is read-only", _PERMISSION),
    errno.ENOENT: ("the folder cannot be made", _NAME),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", _NAME),
    errno.EEXIST: ("a part of the path is a file, not a folder", _NAME),
    errno.EISDIR: ("it is a folder", _NAME),
}


@contextmanager
def explained_os_errors(path: Path) -> Iterator[None]:
    """Turns an `OSError` of a failed write into a `CannotWriteError` that names the path; others pass unchanged."""
    try:
        yield
    except OSError as error:
        # h5py raises an OSError without `errno`; only its text holds the number.
        code = error.errno or next((c for c in _EXPLAINED if f"errno = {c}," in str(error)), None)
        if code not in _EXPLAINED:
            raise
        reason, way_out = _EXPLAINED[code]
        raise CannotWriteError(
            f"Cannot write {path}: {reason}.", f"Finished work is safe. {way_out}, then run the same command again."
        ) from None


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Locks `directory` for one writing process. The lock ends with the process, even after a kill -9.

    Raises:
        VmcError: another process holds the lock, or the directory cannot be written.
    """
    with explained_os_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / ".lock").open("a+")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VmcError(
                f"Another vmc process is writing to {directory}.", "Wait for it, or give another folder."
            ) from None
        remove_partials(directory)
        yield
