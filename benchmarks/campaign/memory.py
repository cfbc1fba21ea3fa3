"""Memory over long work: what the process and its workers hold must not grow.

Each case is one command in a process of its own; the resident memory of it and its children is read while it works.
`python benchmarks/campaign/memory.py NAME` does the work of the two cases that are not `vmc` commands.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

_TOY = ("--env", "vmc/Toy-v0", "--data", "data", "--run", "run")
_SEARCH = ("train-controller", *_TOY, "--init", "scratch", "--generations", "1000", "--validate-every", "50")
_SMALL = ("--population-size", "8", "--rollouts-per-candidate", "2", "--validation-episodes", "2")
_FRAMES = 10_000_000
_DREAMS = 10_000
# What each case runs, after `python`; the folder is that of a finished run on the toy environment.
CASES: dict[str, Sequence[str]] = {
    "1,000 generations in the dream": ("-m", "vmc", *_SEARCH, *_SMALL, "--dream", "--workers", "0"),
    "1,000 generations in reality, two workers": ("-m", "vmc", *_SEARCH, *_SMALL, "--no-dream", "--workers", "2"),
    "10 million frames streamed": (__file__, "frames"),
    "10,000 dreams' environments opened and closed": (__file__, "dreams"),
}
NAMES = tuple(CASES)
_MIB = 2**20
# Of the samples' last quarter over their second one: pages of a garbage collector's make some.
_MOST_GROWTH = 16.0  # MiB


def baselines(folder: Path, cases: Sequence[int]) -> None:
    """There is nothing to compare with."""


def case(folder: Path, number: int, seed: int, expected: None) -> list[dict[str, Any]]:
    """Runs one case to its end and compares the memory of its last quarter with that of its second."""
    import toy

    name = NAMES[number % len(NAMES)]
    place = toy.copied(folder / "first", folder / "case")
    toy.removed(place / "run" / "controller")
    with (place / "said").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen([sys.executable, *CASES[name]], cwd=place, stdout=said, stderr=said)
        samples, started = [], time.monotonic()
        while process.poll() is None:
            samples.append(_resident(process.pid))
            time.sleep(0.2)
        said.seek(0)
        text = said.read()
    held = np.array([sample for sample in samples if sample]) / _MIB
    early, late = (float(np.median(part)) for part in (held[len(held) // 4 : len(held) // 2], held[-len(held) // 4 :]))
    flat = process.returncode == 0 and late - early <= _MOST_GROWTH
    row: dict[str, Any] = {"memory": name, "status": process.returncode, "verdict": "flat" if flat else "grows"}
    row |= {"seconds": round(time.monotonic() - started), "MiB early": round(early, 1), "MiB late": round(late, 1)}
    return [row | {"MiB most": round(float(held.max()), 1)} | ({} if flat else {"text": text[-2000:]})]


def _resident(pid: int) -> int:
    """The resident bytes of a process and of what it has started; 0 where it has ended."""
    try:
        process = psutil.Process(pid)
        return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def _stream_frames() -> None:
    from vmc.storage.frames import FramesStreamed, num_frames
    from vmc.storage.rollouts import RolloutDataset

    dataset = RolloutDataset("data")
    # A buffer for about a third of them, so that groups are read and dropped.
    size = dataset.frame_kind.num_bytes * num_frames(dataset.episodes) // 3
    batches = FramesStreamed(dataset, dataset.episodes, 32, 0, size)
    seen = epoch = 0
    while seen < _FRAMES:
        seen += sum(len(frames) for frames in batches.epoch(epoch, 0))
        epoch += 1


def _open_dreams() -> None:
    import gymnasium as gym

    import vmc  # noqa: F401

    for number in range(_DREAMS):
        env = gym.make("vmc/Dream-v0", run="run")
        env.reset(seed=number)
        env.step(env.action_space.sample())
        env.close()


if __name__ == "__main__":
    {"frames": _stream_frames, "dreams": _open_dreams}[sys.argv[1]]()
