"""Progress of long jobs on stderr: a bar on a terminal, otherwise a line every half minute."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

_QUIET_SECONDS = 30.0
# Without a terminal, jobs shorter than this print nothing: M has dozens of epochs of one second each.
_BRIEF_SECONDS = 5.0


class Progress:
    """A context manager: `with Progress("V", total, "frames") as progress: progress.advance(100, loss=3.2)`.

    Args:
        title: the name of the job.
        total: the number of units.
        unit: the plural name of a unit, shown with the rate.
        done: units that an earlier, interrupted job finished; the rate leaves them out.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done = self._before = done
        self._metrics = ""
        self._started = self._printed = time.monotonic()
        self._bar = _make_bar() if sys.stderr.isatty() else None

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, completed=self._done, note="")
        return self

    def advance(self, units: int, **metrics: float) -> None:
        """Adds `units` to the finished ones and shows the latest metrics."""
        self._done += units
        if metrics:
            self._metrics = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, note=f"{self._rate()}  {self._metrics}")
        elif time.monotonic() - self._printed > _QUIET_SECONDS:
            self._print_line()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif error is None and time.monotonic() - self._started > _BRIEF_SECONDS:
            self._print_line()

    def _rate(self) -> str:
        seconds = time.monotonic() - self._started
        rate = (self._done - self._before) / seconds if seconds > 0 else 0.0
        return f"{rate:.4g} {self._unit}/s"

    def _print_line(self) -> None:
        self._printed = time.monotonic()
        seconds = self._printed - self._started
        done = self._done - self._before
        left = seconds / done * (self._total - self._done) if done else 0.0
        parts = [
            f"{self._title}: {self._done}/{self._total} {self._unit}",
            self._rate(),
            f"{left:.0f} s left",
        ]
        print("  ".join(filter(None, [*parts, self._metrics])), file=sys.stderr, flush=True)


def _make_bar() -> RichProgress:
    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
