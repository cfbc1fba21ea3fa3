"""Runs `vmc` commands in children of this process, which has imported all that they need."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# What the commands import when they begin, so that a child starts at once.
import vmc.stages.evaluate
import vmc.stages.export
import vmc.stages.faithfulness
import vmc.stages.inspection
import vmc.stages.train_controller
import vmc.stages.train_mdrnn
import vmc.stages.train_vae
import vmc.viewer.runs  # noqa: F401
from vmc.cli import main

_SECONDS = 60


class Outcome(NamedTuple):
    """How a command ended: its exit status, or minus the signal's number; all that it wrote; and how long it took."""

    status: int
    text: str
    seconds: float

    @property
    def has_traceback(self) -> bool:
        """Whether it ended in a traceback, which nobody should see."""
        return "Traceback (most recent call last)" in self.text


def run(arguments: Sequence[str | Path], folder: Path, killed_after: float = _SECONDS) -> Outcome:
    """Runs one command in a folder; where it takes longer than that many seconds it is killed, with the status -9."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _become(arguments, folder, output.fileno())
        status = _waited(child, started + killed_after)
        output.seek(0)
        return Outcome(status, output.read().decode("utf-8", "replace"), time.monotonic() - started)


def _become(arguments: Sequence[str | Path], folder: Path, output: int) -> None:
    os.setsid()  # so that whatever it starts can be ended with it
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    status = 1
    try:
        main([str(argument) for argument in arguments], prog_name="vmc")
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _waited(child: int, until: float) -> int:
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.005)
