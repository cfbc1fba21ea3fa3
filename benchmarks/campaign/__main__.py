"""A campaign of faults: `python benchmarks/campaign --folder FOLDER`.

Every case depends on `--seed` and its number alone. Finished cases are kept in the folder, so that a stopped campaign
goes on; the counts are written to `--out`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import disks
import environments
import files
import interrupts
import kills
import machine
import memory
import page
import toy
import twins
import workers

from vmc.storage.checkpoint import versions

# By the names of the options: the module, how many cases the long form has, and what they are.
KINDS: dict[str, tuple[Any, int, str]] = {
    "files": (files, 500, "mutated files"),
    "kills": (kills, 200, "kill -9"),
    "interrupts": (interrupts, 100, "SIGINT and SIGTERM"),
    "disks": (disks, 60, "a full disk or a read-only folder"),
    "twins": (twins, 30, "two processes at once"),
    "workers": (workers, 36, "workers killed, stopped or without memory"),
    "page": (page, 30, "faults of clients of the page"),
    "environments": (environments, len(environments.NAMES), "environments of strangers"),
    "machine": (machine, len(machine.MACHINES), "unusual machines"),
    "memory": (memory, len(memory.NAMES), "memory over long work"),
}


# A promise was kept: nothing has changed, or a message says what is wrong, or it works.
_GOOD = ("same", "told", "runs", "flat")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, (_, count, what) in KINDS.items():
        parser.add_argument(f"--{name}", type=int, default=count, help=f"Cases of {what}.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="For the runs, and for what was found.")
    parser.add_argument("--out", type=Path, help="The counts, e.g. results/campaign.json.")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    toy.make_runs(given.folder)
    cases = {name: getattr(given, name) for name in KINDS}
    found = {name: _cases(name, cases[name], given, kind) for name, (kind, _, _) in KINDS.items()}
    counts = {name: dict(Counter(row["verdict"] for row in rows)) for name, rows in found.items()}
    what = {name: text for name, (_, _, text) in KINDS.items()}
    summary = {"seed": given.seed, "cases": cases, "what": what, "verdicts": counts}
    print(json.dumps(counts))
    if given.out is not None:
        given.out.write_text(json.dumps({**summary, "versions": versions()}, indent=2) + "\n", encoding="utf-8")
    if any(verdict not in _GOOD for verdicts in counts.values() for verdict in verdicts):
        sys.exit("A promise was broken: see the journals in the folder.")


def _cases(name: str, count: int, given: argparse.Namespace, kind: Any) -> list[dict[str, Any]]:
    """Runs the cases that are missing in the folder's journal; returns all of them."""
    journal = given.folder / f"{name}-{given.seed}.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    done = [json.loads(line) for line in lines]
    missing = sorted(set(range(count)) - {row["case"] for row in done})
    expected = kind.baselines(given.folder, missing) if missing else None
    for number in missing:
        rows = [{"case": number, **row} for row in kind.case(given.folder, number, given.seed, expected)]
        with journal.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
        for row in rows:
            if row["verdict"] not in _GOOD:
                print(json.dumps({key: value for key, value in row.items() if key != "text"}), flush=True)
        done += rows
    return done


if __name__ == "__main__":
    main()
