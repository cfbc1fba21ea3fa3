"""The device that trains, and its number of threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vmc.errors import VmcError
from vmc.executors import available_cores


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU, for work in many small steps: threads would wait for each other longer than they work."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU where there is one, else the CPU; sets PyTorch's threads.

    That is `OMP_NUM_THREADS` where it is set, else the cores that we may use.

    Raises:
        VmcError: `cuda` was asked for and there is none.
    """
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", available_cores())))
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise VmcError("PyTorch finds no CUDA device.", "Give --device cpu, or install a CUDA build of torch.")
    return torch.device(name)
