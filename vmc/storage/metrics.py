"""Metrics of a stage: JSON lines in its folder, and the same to the loggers that were asked for."""

from __future__ import annotations

import importlib
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vmc.config import did_you_mean
from vmc.errors import VmcError
from vmc.extras import missing, require
from vmc.storage.files import read_json, replacing
from vmc.storage.journal import Journal, read_journal

METRICS = "metrics.jsonl"


class MetricsLog:
    """Appends one JSON object per step to `metrics.jsonl`, and hands the numbers to the loggers.

    Every logger gets the same names: the stage's folder and the metric, such as `vae/val_loss`.

    Args:
        directory: the stage's folder.
        last_step: the step of the checkpoint that the stage resumes from. Later lines are dropped, because the resumed
            stage writes these steps again.
        loggers: names of `LOGGERS`.

    Raises:
        VmcError: a logger is unknown or not installed, or the folder cannot be written.
    """

    def __init__(self, directory: Path, last_step: int, loggers: Sequence[str] = ()) -> None:
        check_loggers(loggers)
        self._stage = directory.name
        kept = [line for line in read_metrics(directory) if line["step"] <= last_step]
        self._journal = Journal(directory / METRICS, kept)
        self._writers = [LOGGERS[name](directory, last_step) for name in loggers]

    def append(self, step: int, **metrics: Any) -> None:
        """Writes `{"step": step, **metrics}`; NaN and infinity become null. The loggers get the numbers alone."""
        metrics = {name: _plain(value) for name, value in metrics.items()}
        self._journal.append({"step": step, **metrics})
        numbers = {f"{self._stage}/{name}": value for name, value in metrics.items() if isinstance(value, int | float)}
        for writer in self._writers:
            writer.log(step, numbers)

    def close(self) -> None:
        """Ends the loggers' runs; without loggers there is nothing to do."""
        for writer in self._writers:
            writer.close()


def _plain(value: Any) -> Any:
    # JSON has no NaN and no infinity.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """Reads the lines of a stage's `metrics.jsonl`, if any. Raises a `VmcError` if it is damaged."""
    path, way_out = directory / METRICS, "Move it away: only the curves before are lost."
    lines = read_journal(path, way_out)
    if not all(type(line.get("step")) is int for line in lines):
        raise VmcError(f"{path} is damaged: a line has no step.", way_out)
    return lines


def check_loggers(names: Sequence[str]) -> None:
    """Raises a `VmcError` for a logger that is unknown or not installed, so that it is told before any work."""
    for name in names:
        if name not in LOGGERS:
            raise VmcError(f"There is no logger {name!r}.", did_you_mean(name, LOGGERS))
        require(name, f"leave out --log {name}")


class Writer(Protocol):
    """Hands the metrics of a stage to one logger."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    """Events in the stage's folder `tensorboard`, for `tensorboard --logdir results`."""

    def __init__(self, directory: Path, last_step: int) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ModuleNotFoundError:
            raise missing("tensorboard") from None
        self._writer = SummaryWriter(str(directory / "tensorboard"), purge_step=last_step + 1)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class _Tracker:
    """A run of Weights & Biases or of Trackio, which have the same calls: one run a stage, in the project `vmc`.

    The run's name ends with a number that is kept in the stage's folder. A resumed stage so goes on in its own run, and
    a stage that begins again begins a new one.
    """

    def __init__(self, module: str, directory: Path, last_step: int) -> None:
        self._module = importlib.import_module(module)
        number = _kept_number(directory / f"{module}-run.txt")
        config = directory / "config.json"
        self._run = self._module.init(
            project="vmc",
            name=f"{directory.parent.name}-{directory.name}-{number}",
            config=read_json(config, "Remove it.") or {},
            resume="allow",
            **({"id": number} if module == "wandb" else {}),
        )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        self._run.finish()


def _kept_number(path: Path) -> str:
    if not path.exists():
        with replacing(path) as partial:
            partial.write_text(secrets.token_hex(4), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


# What `--log` can name, and the extra of the same name installs. Each entry makes a writer for a stage's folder, from
# the step of the checkpoint that the stage resumes from.
LOGGERS: dict[str, Callable[[Path, int], Writer]] = {
    "tensorboard": _TensorBoard,
    "wandb": lambda directory, last_step: _Tracker("wandb", directory, last_step),
    "trackio": lambda directory, last_step: _Tracker("trackio", directory, last_step),
}
