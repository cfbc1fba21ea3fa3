"""Mutated files: every command that reads one works as before, or says what is wrong with which file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import toy
from commands import Outcome, run
from mutations import MUTATIONS

# The commands that are tried on a case: these for files of a run, and those for episodes.
_COMMANDS = {
    "run": ("inspect", "test", "test-dream", "export", "report", "list", "go-on"),
    "data": ("inspect-data", "go-on"),
}
_PER_CASE = 3


def baselines(folder: Path, cases: Sequence[int]) -> dict[str, str]:
    """The result of each command on a run that is whole."""
    found = {}
    for reader, arguments in toy.READERS.items():
        case = toy.copied(folder / "first", folder / "case")
        outcome = run(arguments, case)
        if outcome.status:
            raise SystemExit(f"`vmc {' '.join(map(str, arguments))}` fails without a fault:\n{outcome.text}")
        found[reader] = toy.result_of(reader, case, outcome)
    return found


def case(folder: Path, number: int, seed: int, expected: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Mutates one file in one way, and runs some of the commands that read it; a row for each."""
    rng = np.random.default_rng([seed, number])
    files = sorted(each for each in (folder / "first").rglob("*") if each.is_file() and _is_read(each))
    file = files[int(rng.integers(len(files)))].relative_to(folder / "first")
    names = list(MUTATIONS)
    order = [names[i] for i in rng.permutation(len(names))]
    readers = _COMMANDS[file.parts[0]]
    chosen = [readers[i] for i in rng.permutation(len(readers))[:_PER_CASE]]
    for reader in chosen:
        place = toy.copied(folder / "first", folder / "case")
        stream = np.random.default_rng([seed, number, 1])  # the same change for every command
        mutation = next(m for m in order if MUTATIONS[m](place / file, folder / "second" / file, stream))
        outcome = run(toy.READERS[reader], place)
        verdict = _verdict(reader, place, outcome, expected[reader], file)
        row = {"file": str(file), "mutation": mutation, "command": reader, "status": outcome.status, "verdict": verdict}
        yield row if verdict in ("same", "told") else {**row, "text": outcome.text[-2000:]}


def _is_read(path: Path) -> bool:
    return path.suffix in (".json", ".jsonl", ".safetensors", ".onnx", ".h5", ".toml") and path.parent.name != "first"


def _verdict(reader: str, place: Path, outcome: Outcome, expected: str, file: Path) -> str:
    if outcome.status < 0:
        return "killed"
    if outcome.has_traceback:
        return "traceback"
    if outcome.status == 0:
        same = toy.result_of(reader, place, outcome) == expected
        return "same" if same else "told" if file.name in outcome.text else "silent"
    # The message names the file, or the folder in which a file of it is wrong.
    named = any(part in outcome.text for part in (file.name, file.stem, str(file.parent)))
    return "told" if outcome.status == 1 and "Error:" in outcome.text and named else "unclear"
