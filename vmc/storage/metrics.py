"""Metrics of a stage as JSON lines, and optionally as TensorBoard events."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from vmc.errors import VmcError
from vmc.storage.files import explained_os_errors, replacing


class MetricsLog:
    """Appends one JSON object per step to `metrics.jsonl`.

    Args:
        directory: the stage's folder.
        last_step: the step of the checkpoint that the stage resumes from. Later lines are dropped, because the resumed
            stage writes these steps again.
        tensorboard: also write TensorBoard events (extra `tensorboard`).

    Raises:
        VmcError: TensorBoard is not installed, or the folder cannot be written.
    """

    def __init__(self, directory: Path, last_step: int, tensorboard: bool = False) -> None:
        self._path = directory / "metrics.jsonl"
        kept = [line for line in read_metrics(directory) if line["step"] <= last_step]
        with replacing(self._path) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        self._writer = _tensorboard_writer(directory, last_step) if tensorboard else None

    def append(self, step: int, **metrics: Any) -> None:
        """Writes `{"step": step, **metrics}`; NaN and infinity become null."""
        metrics = {name: _plain(value) for name, value in metrics.items()}
        with explained_os_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
        if self._writer is not None:
            for name, value in metrics.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(name, value, step)
            self._writer.flush()


def _plain(value: Any) -> Any:
    # JSON has no NaN and no infinity.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(directory: Path) -> list[dict[str, Any]]:
    """Reads the lines of a stage's `metrics.jsonl`, if any. Ignores a last line that a kill cut short."""
    path = directory / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _tensorboard_writer(directory: Path, last_step: int) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ModuleNotFoundError:
        raise VmcError(
            "TensorBoard is not installed.", "pip install 'vmc[tensorboard]', or leave out --tensorboard."
        ) from None
    return SummaryWriter(str(directory / "tensorboard"), purge_step=last_step + 1)
