"""Environments of strangers: the whole chain runs on them, or one message says why not before there is a result."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import strange
import toy
from commands import Outcome

# Ids and seeds that are unusual, beside the cases of `strange`: options of the command.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "an id with a namespace": ("--env", "strange:of/Strangers-v0"),
    "a seed above 2**32": ("--env", "strange:Strange-v0", "--seed", str(2**40 + 1)),
}
NAMES = (*strange.CASES, *_OPTIONS)
_SECONDS = 200


def baselines(folder: Path, cases: Sequence[int]) -> None:
    """There is nothing to compare with."""


def case(folder: Path, number: int, seed: int, expected: None) -> list[dict[str, Any]]:
    """Runs the chain on one environment."""
    name = NAMES[number % len(NAMES)]
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    shutil.copy(strange.__file__, place)
    (place / "chain.toml").write_text(toy.RECIPE, encoding="utf-8")
    options = _OPTIONS.get(name, ("--env", "strange:Strange-v0", "--env-kwargs", f"what={name}"))
    outcome = _run(["run", "--recipe", "chain.toml", *options, "--workers", "1", "--job-timeout", "15"], place)
    done = (place / "results").exists() and any((place / "results").rglob("test.json"))
    errors = [line for line in outcome.text.splitlines() if line.startswith("Error: ")]
    told = outcome.status == 1 and len(errors) == 1
    # A job's own trace is told where it has failed three times: it is the environment's.
    if outcome.has_traceback and "A job failed 3 times" not in outcome.text and "run again" not in outcome.text:
        verdict = "traceback"
    elif outcome.status == 0:
        verdict = "runs" if done else "silent"
    elif "may hang" in outcome.text:  # in the main process, which nobody ends but the user
        verdict = "told"
    else:
        verdict = "told" if told and not done else "unclear"
    row = {"environment": name, "status": outcome.status, "verdict": verdict}
    return [{**row, "told": errors, **({} if verdict in ("runs", "told") else {"text": outcome.text[-2000:]})}]


def _run(arguments: list[str], place: Path) -> Outcome:
    command = [sys.executable, "-m", "vmc", *arguments]
    # Not into pipes, which a process that is left behind would keep open.
    with (place / "said").open("w+", encoding="utf-8", errors="replace") as said:
        try:
            status = subprocess.run(
                command, cwd=place, stdout=said, stderr=said, timeout=_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = -9
        said.seek(0)
        return Outcome(status, said.read(), 0.0)
