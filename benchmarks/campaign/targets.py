"""What faults strike at work: each stage alone, and the chain, with what it begins with and what it must find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import toy
from commands import Outcome, run

_PLACE = ("--env", toy.TOY, "--data", "data")
_RUN = (*_PLACE, "--run", "run")
_SEARCH = (
    "--generations",
    "4",
    "--population-size",
    "6",
    "--rollouts-per-candidate",
    "2",
    "--validation-episodes",
    "2",
)
_M_AND_LATER = ("run/mdrnn", "run/latents.h5", "run/controller", "run/run.json", "run/test.json")
_C_AND_LATER = ("run/controller", "run/run.json", "run/test.json")


@dataclass(frozen=True)
class Target:
    """A command.

    Attributes:
        missing: what of a finished run it begins without.
        reader: whose result it must find (`toy.result_of`).
    """

    arguments: Sequence[str]
    missing: Sequence[str] = ()
    reader: str = "go-on"

    def begin(self, folder: Path) -> Path:
        """A folder where it can begin."""
        place = toy.copied(folder / "first", folder / "case")
        for name in self.missing:
            toy.removed(place / name)
        return place

    def result(self, place: Path, outcome: Outcome) -> str:
        """What it has found."""
        return toy.result_of(self.reader, place, outcome)


def _with_workers(arguments: Sequence[str], workers: int) -> Sequence[str]:
    return (*arguments, "--workers", str(workers))


TARGETS = {
    "rollouts": Target(_with_workers(("rollouts", *_PLACE, "--episodes", "40"), 0), ("data", "run"), "data"),
    "rollouts, two workers": Target(
        _with_workers(("rollouts", *_PLACE, "--episodes", "40"), 2), ("data", "run"), "data"
    ),
    "train-vae": Target(("train-vae", *_RUN, "--epochs", "3", "--batch-size", "32"), ("run",)),
    "train-mdrnn": Target(("train-mdrnn", *_RUN, "--epochs", "10", "--window", "16"), _M_AND_LATER),
    "train-mdrnn --joint": Target(
        ("train-mdrnn", *_RUN, "--epochs", "2", "--batch-size", "4", "--window", "8", "--joint"), _M_AND_LATER
    ),
    "search in reality": Target(
        _with_workers(("train-controller", *_RUN, "--no-dream", "--init", "scratch", *_SEARCH), 0), _C_AND_LATER
    ),
    "search in reality, two workers": Target(
        _with_workers(("train-controller", *_RUN, "--no-dream", "--init", "scratch", *_SEARCH), 2), _C_AND_LATER
    ),
    "search in the dream": Target(
        _with_workers(("train-controller", *_RUN, "--dream", "--init", "scratch", *_SEARCH), 0), _C_AND_LATER
    ),
    "policy gradient in reality, two workers": Target(
        _with_workers(("train-controller", *_RUN, "--no-dream", "--trainer", "ppo", "--generations", "4"), 2),
        _C_AND_LATER,
    ),
    "policy gradient in the dream": Target(
        ("train-controller", *_RUN, "--dream", "--trainer", "ppo", "--generations", "4"), _C_AND_LATER
    ),
    "actor-critic": Target(
        ("train-controller", *_RUN, "--dream", "--trainer", "actor-critic", "--generations", "4", "--updates", "5"),
        _C_AND_LATER,
    ),
    "chain": Target(toy.READERS["go-on"], ("data", "run")),
    "chain, two workers": Target((*toy.READERS["go-on"][:-1], "2"), ("data", "run")),
    "round": Target(toy.READERS["go-on"]),
    "test": Target(toy.READERS["test"], reader="test"),
    "export": Target(toy.READERS["export"], reader="export"),
    "chain on CarRacing, two workers": Target(
        ("run", "--preset", "smoke", "--data", "data", "--run", "run", "--workers", "2"), ("data", "run")
    ),
    "report": Target(toy.READERS["report"], reader="report"),
}


@dataclass(frozen=True)
class Baseline:
    """What a target finds without a fault, and its seconds."""

    result: str
    seconds: float


def name_of(case: int) -> str:
    """The target of a case: they take turns."""
    return list(TARGETS)[case % len(TARGETS)]


def baselines(folder: Path, cases: Sequence[int]) -> dict[str, Baseline]:
    """The targets of these cases, without a fault.

    Raises:
        SystemExit: one fails.
    """
    found = {}
    for name in dict.fromkeys(map(name_of, cases)):
        target = TARGETS[name]
        place = target.begin(folder)
        outcome = run(target.arguments, place)
        if outcome.status:
            raise SystemExit(f"{name} fails without a fault:\n{outcome.text}")
        found[name] = Baseline(target.result(place, outcome), outcome.seconds)
    return found


def finished(folder: Path, name: str, expected: Baseline) -> dict[str, object]:
    """Gives the command once more, to its end, where a fault has been; the row of the journal."""
    target, place = TARGETS[name], folder / "case"
    outcome = run(target.arguments, place)
    same = outcome.status == 0 and target.result(place, outcome) == expected.result
    left = [str(path.relative_to(place)) for path in place.rglob("*.partial")]
    verdict = "same" if same and not left else "traceback" if outcome.has_traceback else "different"
    row = {"target": name, "status": outcome.status, "left": left, "verdict": verdict}
    return row if verdict == "same" else {**row, "text": outcome.text[-2000:]}
