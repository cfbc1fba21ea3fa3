"""Environments of strangers that leave threads and processes behind."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

_MODULE = """
    import multiprocessing, os, signal, subprocess, sys, threading, time
    import gymnasium as gym
    import numpy as np

    signals = {"SIGTERM in a destructor": signal.SIGTERM, "SIGINT in a destructor": signal.SIGINT}

    class Late:
        # Python ignores what is raised in a destructor.

        def __init__(self, number):
            self._number = number

        def __del__(self):
            os.kill(os.getpid(), self._number)
            time.sleep(0.01)

    def square(queue):
        queue.put(9)

    class Env(gym.Env):
        observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

        def __init__(self, what):
            self._what = what
            if what == "thread":
                threading.Thread(target=time.sleep, args=(1000,), name="heartbeat").start()
            if what == "multiprocessing":
                queue = multiprocessing.get_context("fork").Queue()
                child = multiprocessing.get_context("fork").Process(target=square, args=(queue,))
                child.start()
                assert queue.get() == 9
                child.join()
            if what == "process":
                subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)  # " + os.getcwd()])

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self._left = 5
            return np.zeros(2, np.float32), {}

        def step(self, action):
            self._left -= 1
            if self._what in signals:
                Late(signals.pop(self._what))  # one signal alone
                time.sleep(1)
            return np.zeros(2, np.float32), 1.0, self._left == 0, False, {}

    gym.register("Strange-v0", entry_point=Env)
"""


def _orphans(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if f"# {folder}" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _collect(folder: Path, what: str, workers: int) -> subprocess.CompletedProcess[str]:
    (folder / "strange.py").write_text(textwrap.dedent(_MODULE))
    options = ["--env-kwargs", f"what={what}", "--episodes", "4", "--workers", str(workers), "--data", "data"]
    command = [sys.executable, "-m", "vmc", "rollouts", "--env", "strange:Strange-v0", *options]
    # Not into pipes: a process that is left behind would keep them open.
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        status = subprocess.run(command, cwd=folder, stdout=out, stderr=err, timeout=120, check=False).returncode
    texts = ((folder / name).read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess(command, status, *texts)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_thread_that_never_ends_does_not_hold_up_the_command(workers: int, tmp_path: Path) -> None:
    done = _collect(tmp_path, "thread", workers)
    assert done.returncode == 0, done.stderr
    assert "4 episodes" in done.stdout
    assert "A thread is still running (heartbeat" in done.stderr


def test_an_environment_in_a_worker_may_use_multiprocessing(tmp_path: Path) -> None:
    done = _collect(tmp_path, "multiprocessing", 1)
    assert done.returncode == 0, done.stderr
    assert "4 episodes" in done.stdout


def test_what_an_environment_starts_in_a_worker_ends_with_it(tmp_path: Path) -> None:
    """The environment that the command itself makes, for a look at its spaces, leaves one; the workers leave none."""
    done = _collect(tmp_path, "process", 2)
    assert done.returncode == 0, done.stderr
    time.sleep(0.5)
    left = _orphans(tmp_path)
    for process in left:
        process.kill()
    assert len(left) <= 1


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_that_comes_in_a_destructor_is_not_lost(number: str, status: int, tmp_path: Path) -> None:
    done = _collect(tmp_path, f"{number} in a destructor", 0)
    assert done.returncode == status, done.stderr
    assert "Interrupted." in done.stderr
    assert "Traceback" not in done.stderr
