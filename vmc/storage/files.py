"""Files that are replaced whole or not at all, and checksums."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from vmc.errors import VmcError

PARTIAL_SUFFIX = ".partial"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is synced and renamed over `path`.

    kill -9 at any instant leaves the old file or the new one.

    Raises:
        VmcError: no space left, or a directory that cannot be written.
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
    # The rename itself must survive a power cut.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yields a new HDF5 file in memory; on success it is written to `path` as by `replacing`.

    In memory, because an HDF5 file that cannot be flushed to a full disk brings the process down at its exit.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        yield file
    with replacing(path) as partial:
        partial.write_bytes(memory.getbuffer())


def remove_partials(directory: Path) -> None:
    """Removes what a killed writer left behind; the caller must hold the directory's lock."""
    for partial in directory.glob(f"*{PARTIAL_SUFFIX}"):
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically. NaN and infinity are refused, since JSON has none."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


_EXPLAINED = {
    errno.ENOSPC: "there is no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.EFBIG: "the file is larger than the file system or a limit allows",
}


@contextmanager
def explained_os_errors(path: Path) -> Iterator[None]:
    """Turns the system's refusals to write into a `VmcError` that names the path."""
    try:
        yield
    except OSError as error:
        # h5py raises a bare OSError whose text alone holds the number.
        code = error.errno or next((c for c in _EXPLAINED if f"errno = {c}," in str(error)), None)
        if code not in _EXPLAINED:
            raise
        raise VmcError(
            f"Cannot write {path}: {_EXPLAINED[code]}.",
            "What was finished before is safe; make room or choose another folder, then run the same command.",
        ) from None


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds `directory` for one writing process; the lock goes with the process, however it ends.

    Raises:
        VmcError: another process holds it.
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
