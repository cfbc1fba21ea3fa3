"""What a search of C has left behind: its metrics, and the costs in `run.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from vmc.errors import VmcError
from vmc.storage.files import read_json
from vmc.storage.journal import unsealed
from vmc.storage.metrics import read_metrics

# Where episodes are played, and how a figure says that.
PLACES = {"real": "the real environment", "dream": "the dream"}
_WITHOUT_RECORDS = "Move it away: the curves are drawn without the times in it."
_KEYS = {"round", "stage", "seconds", "metrics"}


class Validation(NamedTuple):
    """The mean return on validation episodes after `generation` generations.

    Attributes:
        real_frames: those of the real environment so far; like the hours, with all other stages of the run.
    """

    generation: int
    mean_return: float
    real_frames: int
    hours: float


@dataclass(frozen=True)
class Search:
    """A search, read from the folder of its run.

    Attributes:
        lines: of `metrics.jsonl`, one for each generation.
        records: of `run.json`, one for each stage of each round; empty if the stages were run one by one.
    """

    lines: list[dict[str, Any]]
    records: list[dict[str, Any]]

    @classmethod
    def read(cls, run: Path) -> Search:
        """Reads a run's search; one without lines where there was none."""
        return cls(read_metrics(run / "controller"), _read_records(run / "run.json"))

    def rounds(self) -> list[list[dict[str, Any]]]:
        """The lines of each round. A round has one V, one M and one place of the fitness: a phase of the search."""
        return [list(lines) for _, lines in groupby(self.lines, key=lambda line: line["phase"])]

    def round_starts(self) -> list[int]:
        """The generation that each round begins after, 0 for the first."""
        return [lines[0]["step"] - 1 for lines in self.rounds()]

    def places(self) -> list[str]:
        """Those of `PLACES` where candidates or C were scored."""
        return [place for place in PLACES if self.validations(place) or any(map(_scored_in(place), self.lines))]

    def candidates(self, place: str) -> list[list[dict[str, Any]]]:
        """The lines of each round whose fitness comes from there."""
        return [lines for lines in self.rounds() if _scored_in(place)(lines[0])]

    def validations(self, place: str) -> list[Validation]:
        """The validations in that place."""
        found = ((line, _validation_return(line, place)) for line in self.lines)
        return [self._validation(line, value) for line, value in found if value is not None]

    def kept(self) -> tuple[str, Validation] | None:
        """The validation whose C was kept, and its place; None if no C was validated.

        A round keeps its best C. If none is better than the one that it began with, that one stays: it has been
        validated once more at the beginning of the round, and `run.json` has the result.
        """
        for lines in reversed(self.rounds()):
            line = self._kept_line(lines)
            if line is not None:
                return line.get("validated_in", "real"), self._validation(line, line["validation_return"])
        return None

    def before(self, number: int) -> tuple[int, float]:
        """Real frames and seconds of the other stages, up to the search of round `number`; 0 without a `run.json`."""
        records = [record for record in self.records if record["round"] <= number and record["stage"] != "test"]
        # An older run.json has no such figure.
        frames = [record["metrics"].get("frames", 0) for record in records if record["stage"] == "rollouts"]
        seconds = sum(record["seconds"] for record in records if record["stage"] != "train-controller")
        return (frames[-1] if frames else 0, seconds)

    def _validation(self, line: dict[str, Any], mean_return: float) -> Validation:
        frames, seconds = self.before(line["phase"])
        hours = (line["seconds"] + seconds) / 3600
        return Validation(line["step"], mean_return, line["real_steps"] + frames, hours)

    def _kept_line(self, lines: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The line of a round whose C that round has kept; None where it kept the one that it began with."""
        validated = [line for line in lines if line.get("validation_return") is not None]
        record = self._record(lines[0]["phase"])
        if "kept generation" in record.get("metrics", {}):
            return next((line for line in validated if line["step"] == record["metrics"]["kept generation"]), None)
        # An older record names the return alone, which is of other episodes where the best ones raced at the end.
        best = max(validated, key=lambda line: float(line["validation_return"]), default=None)
        if best is None or record.get("settings", {}).get("final_candidates", 0) > 1:
            return best
        kept = record.get("metrics", {}).get("validation return")
        return best if kept is None or best["validation_return"] >= kept - 1e-6 else None

    def _record(self, number: int) -> dict[str, Any]:
        """The record of the search of round `number`; empty where there is none."""
        found = (each for each in self.records if (each["stage"], each["round"]) == ("train-controller", number))
        return next(found, {})


def _read_records(path: Path) -> list[dict[str, Any]]:
    records = read_json(path, _WITHOUT_RECORDS)
    if records is None:
        return []
    if not isinstance(records, list) or not all(isinstance(each, dict) and each.keys() >= _KEYS for each in records):
        raise VmcError(f"{path} is damaged.", _WITHOUT_RECORDS)
    return unsealed(records, path, _WITHOUT_RECORDS)


def _scored_in(place: str) -> Callable[[dict[str, Any]], bool]:
    """Whether the candidates of a line were scored there."""
    return lambda line: bool(line["dream"]) == (place == "dream")


def _validation_return(line: dict[str, Any], place: str) -> float | None:
    """Some searches validate in both places: the one that chooses, and the dream beside it."""
    if line.get("validated_in") == place:
        return line["validation_return"]  # type: ignore[no-any-return]
    return line.get("dream_validation_return") if place == "dream" else None
