"""A full disk and a read-only folder: one message, nothing lost that was whole, and it goes on when there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from commands import run
from targets import TARGETS, Baseline, baselines, finished, name_of

__all__ = ["baselines", "case"]

_KIB = 1024


def case(folder: Path, number: int, seed: int, expected: dict[str, Baseline]) -> list[dict[str, Any]]:
    """Runs one target on a small file system that fills up at a random write, or on a read-only one, then with room.

    It mounts a file system in memory, so it needs the rights to do so.
    """
    rng = np.random.default_rng([seed, number, 4])
    name = name_of(number)
    target, read_only = TARGETS[name], rng.random() < 0.2
    place = target.begin(folder)
    before = _size(place)
    full = _grown(folder, name) - before
    # Room for a part of what it writes; a file system counts whole pages.
    room = None if read_only else before + int(rng.uniform(0, 1) * full)
    with _mounted(place, room):
        outcome = run(target.arguments, place)
        kept = folder / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(place, kept, symlinks=True)
    shutil.rmtree(place)
    kept.rename(place)
    row = {"room": room, "first status": outcome.status}
    if outcome.status == 0 or (outcome.status == 1 and "Error:" in outcome.text and not outcome.has_traceback):
        return [{**row, **finished(folder, name, expected[name])}]
    return [{**row, "target": name, "verdict": "unclear", "text": outcome.text[-2000:]}]


def _grown(folder: Path, name: str) -> int:
    """The size of the target's folder at its end, measured once."""
    known = folder / f"size of {name}"
    if not known.exists():
        place = TARGETS[name].begin(folder)
        run(TARGETS[name].arguments, place)
        known.write_text(str(_size(place)))
        TARGETS[name].begin(folder)
    return int(known.read_text())


def _size(place: Path) -> int:
    """As a file system in memory counts it: whole pages of files."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(page * -(-path.lstat().st_size // page) for path in place.rglob("*") if path.is_file())


@contextmanager
def _mounted(place: Path, room: int | None) -> Iterator[None]:
    """The content of a folder on a file system of its own; None makes it read-only."""
    source = place.with_name("source")
    shutil.rmtree(source, ignore_errors=True)
    place.rename(source)
    place.mkdir()
    options = "size=1g" if room is None else f"size={max(room // _KIB, 64)}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "vmc-campaign", place], check=True)
    try:
        shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        if room is None:
            subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        yield
    finally:
        for _ in range(50):  # what the command has left ends with it, at once or almost
            if subprocess.run(["umount", place], check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"{place} is in use five seconds after the command has ended.")
