"""`vmc doctor`: what this machine offers to vmc, as a bug report needs it."""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from vmc.envs import CARRACING, fast_drawing_is_proved, numba_cache
from vmc.executors import available_cores, processor
from vmc.extras import EXTRAS, install_hint, is_installed
from vmc.storage.checkpoint import versions

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "VMC_CARRACING")
BUG_REPORT = (
    "A bug report should hold all of this, the command, and all that the command printed. If it is about a run: its "
    "recipe.toml, and what `vmc inspect RUN` prints."
)


def diagnose() -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the sections of the report, each a title and its rows; some of them measure for seconds."""
    found = dict(versions())
    blas = found.pop("blas", "") or "unknown"
    yield "Versions", {"system": platform.platform(), **found}
    yield "Processor", _processor(blas)
    yield "GPU", _gpu()
    yield "Extras", {extra: "installed" if is_installed(extra) else install_hint(extra) for extra in EXTRAS}
    yield "Drawing and caches", _drawing()


def _processor(blas: str) -> dict[str, str]:
    rows = {
        "name": processor(),
        "cores": f"{available_cores()} of {os.cpu_count()} may be used",
        "PyTorch's threads": f"{torch.get_num_threads()}",
        "BLAS": blas,
        "load": f"{os.getloadavg()[0]:.2f}",
    }
    memory = Path("/proc/meminfo")
    if memory.exists():
        sizes = dict(line.split(":", 1) for line in memory.read_text(encoding="utf-8").splitlines())
        free, total = (int(sizes[name].split()[0]) / 2**20 for name in ("MemAvailable", "MemTotal"))
        rows["memory"] = f"{free:.1f} of {total:.1f} GiB are free"
    rows["disk"] = f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB are free in {Path.cwd()}"
    return rows | {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}


def _gpu() -> dict[str, str]:
    if not torch.cuda.is_available():
        return {"CUDA": "PyTorch finds no device: V, M and the dream run on the processor"}
    gibs = torch.cuda.get_device_properties(0).total_memory / 2**30
    return {"CUDA": f"{torch.version.cuda}", "device": f"{torch.cuda.get_device_name()}, {gibs:.0f} GiB"}


def _drawing() -> dict[str, str]:
    started = time.monotonic()
    proved = fast_drawing_is_proved()
    seconds = time.monotonic() - started
    equal = f"proved equal to the official one in {seconds:.1f} s" if proved else "not used: the official one draws"
    cache = numba_cache()
    state = "can be written" if os.access(cache, os.W_OK) else "cannot be written"
    return {f"fast {CARRACING}": equal, "numba's cache": f"{cache} ({state})"}
