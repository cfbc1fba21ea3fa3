"""Which device trains, and with how many threads."""

from __future__ import annotations

import os

import torch

from vmc.errors import VmcError
from vmc.executors import available_cores


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
