"""Runs the benchmarks and writes their results to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from vmc.bench.dreaming import bench_dream
from vmc.bench.driving import (
    bench_collection,
    bench_environment,
    bench_loading,
    bench_policy_loop,
    bench_step,
    bench_workers,
)
from vmc.bench.floors import copy_rate, gemm_rate
from vmc.bench.interleaved import Result
from vmc.bench.learning import bench_mdrnn, bench_vae
from vmc.envs import CARRACING, check_env
from vmc.executors import available_cores, processor
from vmc.stages.device import choose_device
from vmc.storage.checkpoint import versions
from vmc.storage.files import check_replaceable, write_json

_DRIVING: dict[str, Callable[[int, int], list[Result]]] = {
    "environment": bench_environment,
    "policy": bench_policy_loop,
    "step": bench_step,
    "workers": bench_workers,
    "collection": bench_collection,
    "loading": bench_loading,
}
_LEARNING: dict[str, Callable[[int, torch.device], list[Result]]] = {
    "vae": bench_vae,
    "mdrnn": bench_mdrnn,
    "dream": bench_dream,
}


def run_benches(names: Sequence[str], rounds: int, steps: int, device_name: str, path: Path | None) -> list[Result]:
    """Runs the named benchmarks: those of the environment on one thread, those of the models on all threads.

    Args:
        path: the JSON file for the results, the machine and the versions; None writes nothing.
    """
    if path is not None:
        check_replaceable(path, {"machine", "results"})
    check_env(CARRACING)  # compiles the kernels
    results: list[Result] = []
    device = choose_device(device_name)
    threads = torch.get_num_threads()
    for name in names:
        if name in _DRIVING:
            with threadpool_limits(1):
                results += _DRIVING[name](rounds, steps)
        else:
            torch.set_num_threads(threads)
            results += _LEARNING[name](rounds, device)
    if path is not None:
        machine = {
            "processor": processor(),
            "cores": available_cores(),
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "threads": threads,
            "gemm_gflops": gemm_rate(device) / 1e9,
            "copy_gigabytes": copy_rate() / 1e9,
            "load": os.getloadavg()[0],
        }
        rows = [asdict(result) for result in results]
        write_json(path, {"machine": machine, "versions": versions(), "rounds": rounds, "results": rows})
    return results
