"""The machine is not as usual: each command works all the same, or says why not in one message."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import toy
from commands import Outcome

# Each command, on a folder with a run.
COMMANDS: dict[str, Sequence[str]] = {
    **toy.READERS,
    "rollouts": ("rollouts", "--env", toy.TOY, "--data", "data", "--episodes", "20", "--workers", "1"),
    "faithfulness": ("faithfulness", "--env", toy.TOY, "--run", "run", "--data", "data", "--episodes", "2"),
    "doctor": ("doctor",),
}


def _nothing() -> None:
    """The machine is as usual."""


def _few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))


def _closed_output() -> None:
    os.close(1)


@dataclass(frozen=True)
class Machine:
    """What is unusual.

    Attributes:
        variables: of the environment; None takes one away.
        folder: the name of the folder that the commands work in.
        before: called in the child before the command begins.
        python: begins the command in this place, with statements of Python before.
    """

    variables: dict[str, str | None] = field(default_factory=dict)
    folder: str = "case"
    before: Callable[[], None] = _nothing
    python: str = ""


_UNWRITABLE = "/proc/none"
MACHINES = {
    "no HOME": Machine({"HOME": None}),
    "unwritable caches": Machine(
        {
            "HOME": _UNWRITABLE,
            "NUMBA_CACHE_DIR": _UNWRITABLE,
            "MPLCONFIGDIR": _UNWRITABLE,
            "XDG_CACHE_HOME": _UNWRITABLE,
        }
    ),
    "C locale": Machine({"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "spaces and other letters in the path": Machine(folder="ein Fall - 例 é"),
    "a long path": Machine(folder="/".join(["long" * 20] * 12)),
    "stdout closed": Machine(before=_closed_output),
    "stdout full": Machine(python="import sys; sys.stdout = open('/dev/full', 'w')"),
    "clock set back": Machine(python="import time; now = time.time; time.time = lambda: now() - 1e8"),
    "48 open files": Machine(before=_few_files),
    "64 workers": Machine({"WORKERS": "64"}),
    "no terminal size": Machine({"COLUMNS": "1", "TERM": None}),
}


def baselines(folder: Path, cases: Sequence[int]) -> dict[str, str]:
    """The result of each command on a machine as usual."""
    found = {}
    for name in COMMANDS:
        place = toy.copied(folder / "first", folder / "case")
        outcome = _run(name, place, Machine())
        if outcome.status:
            raise SystemExit(f"{name} fails without a fault:\n{outcome.text}")
        found[name] = toy.result_of(name, place, outcome)
    return found


def case(folder: Path, number: int, seed: int, expected: dict[str, str]) -> list[dict[str, Any]]:
    """Runs every command on one machine; a row for each."""
    name = list(MACHINES)[number % len(MACHINES)]
    machine, rows = MACHINES[name], []
    for command in COMMANDS:
        place = toy.copied(folder / "first", folder / machine.folder)
        outcome = _run(command, place, machine)
        if outcome.has_traceback:
            verdict = "traceback"
        elif outcome.status:
            verdict = "told" if outcome.status == 1 and "Error:" in outcome.text else "unclear"
        else:
            verdict = "same" if toy.result_of(command, place, outcome) == expected[command] else "silent"
        row = {"machine": name, "command": command, "status": outcome.status, "verdict": verdict}
        rows.append(row if verdict in ("same", "told") else {**row, "text": outcome.text[-2000:]})
    return rows


def _run(name: str, place: Path, machine: Machine) -> Outcome:
    """In a process of its own, since libraries read the environment when they are imported."""
    variables = {key: value for key, value in {**os.environ, **machine.variables}.items() if value is not None}
    arguments = list(COMMANDS[name])
    if "--workers" in arguments and "WORKERS" in variables:
        arguments[arguments.index("--workers") + 1] = variables["WORKERS"]
    start = f"{machine.python}\nfrom vmc.__main__ import command\ncommand()"
    command = [sys.executable, "-c", start, *arguments]
    done = subprocess.run(
        command, cwd=place, env=variables, capture_output=True, preexec_fn=machine.before, timeout=900, check=False
    )
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    return Outcome(done.returncode, text, 0.0)
