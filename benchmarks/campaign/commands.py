"""Runs `vmc` commands in children of this process, which has imported all that they need."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
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

_SECONDS = 900  # a machine may be busy


class Outcome(NamedTuple):
    """How a command ended: its exit status, or minus the signal's number; all that it wrote; and how long it took."""

    status: int
    text: str
    seconds: float

    @property
    def has_traceback(self) -> bool:
        """Whether it ended in a traceback, which nobody should see."""
        return "Traceback (most recent call last)" in self.text


Arguments = Sequence[str | Path]


class Child:
    """A command that runs in a folder, in a session of its own.

    Args:
        prepare: called in the child before the command begins.
    """

    def __init__(self, arguments: Arguments, folder: Path, prepare: Callable[[], None] = lambda: None) -> None:
        self._started = time.monotonic()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self.pid = os.fork()
        if self.pid == 0:
            _become(arguments, folder, self._output.fileno(), prepare)

    def ended(self, killed_after: float = _SECONDS) -> Outcome:
        """Waits for its end; where it takes longer than that many seconds it is killed, with the status -9."""
        status = self._waited(self._started + killed_after)
        with self._output:
            self._output.seek(0)
            text = self._output.read().decode("utf-8", "replace")
        return Outcome(status, text, time.monotonic() - self._started)

    def _waited(self, until: float) -> int:
        while True:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until:
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.005)


def run(arguments: Arguments, folder: Path, killed_after: float = _SECONDS) -> Outcome:
    """Runs one command in a folder, as `Child`."""
    return Child(arguments, folder).ended(killed_after)


def _become(arguments: Arguments, folder: Path, output: int, prepare: Callable[[], None]) -> None:
    os.setsid()  # so that whatever it starts can be ended with it
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    status = 1
    try:
        prepare()
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
