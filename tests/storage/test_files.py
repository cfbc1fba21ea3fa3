"""Files are replaced atomically, failed writes give clear errors, and a folder has one writer."""

import errno
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmc.errors import VmcError
from vmc.storage.checkpoint import load_checkpoint, save_checkpoint
from vmc.storage.files import (
    CannotWriteError,
    explained_os_errors,
    locked,
    read_json,
    remove_partials,
    replacing,
    sha256_of,
    write_json,
)


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    """Limits every file of this process to `size` bytes; the system enforces this for root too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_replacing_puts_the_new_content_in_place(tmp_path: Path) -> None:
    path = tmp_path / "made" / "on the way" / "a.txt"
    for text in ("one", "two"):
        with replacing(path) as partial:
            assert partial.parent == path.parent  # the rename is atomic only within one file system
            partial.write_text(text)
        assert path.read_text() == text
        assert _names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("written", [True, False])
def test_an_error_leaves_the_old_content_and_no_partial(
    error: type[BaseException], written: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as partial:
            if written:
                partial.write_text("half of the n")
                assert path.read_text() == "old"
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EFBIG]
)
def test_a_refusal_by_the_system_names_the_path(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError(code, "refused")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(VmcError, match=f"Cannot write {path}: ") as caught:
        write_json(path, {"new": 2})
    assert caught.value.hint is not None
    assert json.loads(path.read_text()) == {"old": 1}
    assert _names(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EDQUOT, "Free some space"),
        (errno.EACCES, "a folder that you may write to"),
        (errno.EROFS, "a folder that you may write to"),
        (errno.ENOTDIR, "what is in the way"),
    ],
)
def test_space_is_only_asked_for_where_there_is_none(code: int, advice: str, tmp_path: Path) -> None:
    with pytest.raises(CannotWriteError) as caught, explained_os_errors(tmp_path):
        raise OSError(code, "refused")
    assert advice in (caught.value.hint or "")
    assert ("space" in (caught.value.hint or "")) == (advice == "Free some space")


def test_other_system_errors_are_not_explained_away(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"), explained_os_errors(tmp_path):
        raise OSError(errno.EIO, "Input/output error")


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VmcError, match="Cannot write"):
        write_json(tmp_path / "file" / "a.json", {})
    with pytest.raises(VmcError, match="Cannot write"), locked(tmp_path / "file" / "folder"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(VmcError, match="Cannot write"):
        write_json(tmp_path / "folder", {})


def test_a_file_too_large_for_the_system_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with _file_size_limit(4096), pytest.raises(VmcError, match=f"Cannot write {path}"):
        write_json(path, "x" * 10_000)
    assert json.loads(path.read_text()) == {"old": 1}
    assert _names(tmp_path) == ["a.json"]


def test_a_checkpoint_too_large_for_the_system_leaves_the_old_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "latest", {"step": 1}, {"w": np.ones(10)})
    with _file_size_limit(4096), pytest.raises(VmcError, match="Cannot write"):
        save_checkpoint(tmp_path, "latest", {"step": 2}, {"w": np.ones(10_000)})
    assert load_checkpoint(tmp_path, "latest", "x").info == {"step": 1}
    assert len(_names(tmp_path)) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [float("-inf")]}])
def test_json_never_holds_what_json_lacks(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", value)
    assert _names(tmp_path) == []


def test_sha256_of(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"a" * 2_000_000)
    assert sha256_of(path) == "bcf7f9d1b4311c3352e60502255ce09a6744df84e8f2c89f79c4b5d74933a95a"


def test_remove_partials_removes_nothing_else(tmp_path: Path) -> None:
    for name in ("a.h5.17.partial", "a.h5", "b.json"):
        (tmp_path / name).touch()
    remove_partials(tmp_path)
    assert _names(tmp_path) == ["a.h5", "b.json"]


HOLDER = """
import sys, time
from pathlib import Path
from vmc.storage.files import locked

with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["device", "folder", "loop"])
def test_what_is_no_regular_file_is_told_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    if kind == "loop":  # as if it were not there
        assert read_json(path, "") is None
        return
    with pytest.raises(VmcError, match=r"a.json is damaged"):
        read_json(path, "")


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """The first process ends by kill -9, and its lock ends with it."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            (tmp_path / "theirs.partial").touch()
            with pytest.raises(VmcError, match=f"Another vmc process is writing to {tmp_path}"), locked(tmp_path):
                pass
            assert (tmp_path / "theirs.partial").exists()  # the holder's own partial file stays
        finally:
            holder.kill()
            holder.wait()
    with locked(tmp_path):
        assert not (tmp_path / "theirs.partial").exists()  # the killed writer's partial file is removed


def test_the_lock_is_released_at_the_end_and_on_errors(tmp_path: Path) -> None:
    def fail() -> None:
        with locked(tmp_path / "new"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with locked(tmp_path / "new"), pytest.raises(VmcError, match="Another"), locked(tmp_path / "new"):
        pass
    with locked(tmp_path / "new"), locked(tmp_path / "another"):
        pass
