"""The training loop that V and M share: epochs of units, validation, early stopping, exact resume.

A unit is the smallest piece of training after which a checkpoint can be made: a batch of frames for V, a batch of
whole episodes for M. All randomness of a unit is derived from (seed, epoch, unit), so nothing but the weights, the
optimiser and a few counters must be kept to resume bit for bit.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vmc.errors import VmcError
from vmc.models.checkpoints import refuse_exported
from vmc.models.loading import load_weights
from vmc.progress import Progress
from vmc.storage.checkpoint import Checkpoint, has_checkpoint, load_checkpoint, save_checkpoint
from vmc.storage.files import write_json
from vmc.storage.metrics import MetricsLog

_CHECKPOINT_SECONDS = 60.0
WAITING = "waiting_share"
# What may change when a stage is resumed: it only makes the training longer or shorter.
_EXTENT = {"epochs", "patience"}
# What may not change even where the data have: the weights go on.
_SHAPE = {"env", "vision", "dynamics", "mixture"}


class Trainable(Protocol):
    """What V and M give to the loop."""

    unit: str

    @property
    def module(self) -> nn.Module: ...

    @property
    def optimizer(self) -> torch.optim.Optimizer: ...

    def num_units(self) -> int:
        """Units an epoch."""
        ...

    def batches(self, epoch: int, first_unit: int) -> Iterator[Any]:
        """The epoch's batches from number `first_unit` on."""
        ...

    def train_batch(self, batch: Any) -> dict[str, float]:
        """Trains one unit; returns its figures, `loss` among them."""
        ...

    def begin_phase(self, before: Mapping[str, Any]) -> None:
        """Called when a loaded model is about to train on other data than before; `before` is its checkpoint's info."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on the validation episodes; `loss` decides which weights are the best."""
        ...

    def kept_weights(self) -> dict[str, Tensor]:
        """What is kept as the best: the module's weights, made ready for those who use it. Called after `validate`."""
        ...


@dataclass
class TrainState:
    """Where the training stands.

    `inputs` names what it trains on (data, V). When that changes, a new phase begins: the weights go on, the best
    loss and the patience start afresh.
    """

    inputs: dict[str, str]
    phase_start: int = 0
    epoch: int = 0
    unit: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    best: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    finished: bool = False


@dataclass(frozen=True)
class FitConfig:
    """What `fit` is asked to do.

    Attributes:
        name: for progress and messages.
        command: the command that runs this stage.
        epochs: at most so many, counted from the start of the phase.
        patience: stop after so many epochs without a better validation loss.
        settings: the stage's dataclass, with `learning_rate` and `final_lr_fraction`; must not change on resume, but for the
            extent of the training.
        inputs: hashes of what is trained on.
        info: kept in the checkpoints for those who load the model.
    """

    name: str
    command: str
    epochs: int
    patience: int
    settings: Any
    inputs: dict[str, str]
    info: dict[str, Any]
    tensorboard: bool = False

    @property
    def config(self) -> dict[str, Any]:
        """The settings as they are kept."""
        return asdict(self.settings)


def fit(trainable: Trainable, folder: Path, plan: FitConfig) -> TrainState:
    """Trains until the plan is fulfilled, resuming from `folder/latest.json` where there is one.

    Returns:
        The final counters; the best weights are in `folder/best.json`.

    Raises:
        VmcError: settings that changed, a corrupt checkpoint, a loss that is not finite.
    """
    if trainable.num_units() == 0:
        raise VmcError(f"{plan.name}: the training data do not fill one batch.", "Collect more, or lower --batch-size.")
    counters = _resume(trainable, folder, plan)
    write_json(folder / "config.json", plan.config)
    # A phase begins with a validation, which logs its epoch anew.
    log = MetricsLog(folder, counters.epoch if counters.best else counters.epoch - 1, plan.tensorboard)
    if not counters.best:
        _validate(trainable, folder, plan, counters, log)
    with _deferred_interrupt() as interrupted:
        while not _finished(plan, counters):
            _train_epoch(trainable, folder, plan, counters, interrupted)
            counters.epoch, counters.unit = counters.epoch + 1, 0
            _validate(trainable, folder, plan, counters, log)
        if not counters.finished:
            counters.finished = True
            _save_latest(trainable, folder, plan, counters)
        if interrupted.is_set():
            raise KeyboardInterrupt
    return counters


def _finished(plan: FitConfig, counters: TrainState) -> bool:
    epochs_done = counters.epoch - counters.phase_start
    return epochs_done >= plan.epochs or counters.epoch - counters.best_epoch >= plan.patience


def _set_learning_rate(trainable: Trainable, plan: FitConfig, counters: TrainState) -> None:
    """Falls linearly over the phase, to the share `final_lr_fraction` of itself."""
    done = (counters.epoch - counters.phase_start + counters.unit / trainable.num_units()) / plan.epochs
    share = 1 + (plan.settings.final_lr_fraction - 1) * done
    for group in trainable.optimizer.param_groups:
        group["lr"] = plan.settings.learning_rate * share


class Clocked(Iterator[Any]):
    """Batches, and the time that was spent waiting for them."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self._batches = batches
        self._began = self._came = time.perf_counter()

    def __next__(self) -> Any:
        self._began = time.perf_counter()
        batch = next(self._batches)
        self._came = time.perf_counter()
        return batch

    def waiting_share(self) -> float:
        """Of the time since the last batch was asked for, the share until it came."""
        return (self._came - self._began) / (time.perf_counter() - self._began)


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C into an event, so that no weight update is cut in half; the second one is at once."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    usual = signal.getsignal(signal.SIGINT)

    def defer(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, defer)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, usual)


def _train_epoch(
    trainable: Trainable, folder: Path, plan: FitConfig, counters: TrainState, interrupted: threading.Event
) -> None:
    started = saved = time.monotonic()
    before = counters.seconds
    title = f"{plan.name} epoch {counters.epoch + 1 - counters.phase_start}/{plan.epochs}"
    total = trainable.num_units()
    trainable.module.train()
    with Progress(title, total, trainable.unit, done=counters.unit) as progress:
        batches = Clocked(trainable.batches(counters.epoch, counters.unit))
        for batch in batches:
            _set_learning_rate(trainable, plan, counters)
            figures = trainable.train_batch(batch)
            if not np.isfinite(figures["loss"]):
                raise VmcError(
                    f"{plan.name}: the loss is {figures['loss']} in epoch {counters.epoch + 1}.",
                    "The last checkpoint is sound. Lower --learning-rate in another --run.",
                )
            counters.unit += 1
            figures[WAITING] = batches.waiting_share()
            for name, value in figures.items():
                counters.sums[name] = counters.sums.get(name, 0.0) + value
            now = time.monotonic()
            counters.seconds = before + now - started
            progress.advance(1, **{name: counters.sums[name] / counters.unit for name in ("loss", WAITING)})
            if interrupted.is_set() or (now - saved > _CHECKPOINT_SECONDS and counters.unit < total):
                _save_latest(trainable, folder, plan, counters)
                saved = now
            if interrupted.is_set():
                raise KeyboardInterrupt


def _validate(trainable: Trainable, folder: Path, plan: FitConfig, counters: TrainState, log: MetricsLog) -> None:
    """Validates, keeps the weights if they are the best of the phase, logs, and checkpoints."""
    started = time.monotonic()
    trainable.module.eval()
    with torch.no_grad():
        figures = trainable.validate()
    if not counters.best or figures["loss"] < counters.best["loss"]:
        counters.best, counters.best_epoch = figures, counters.epoch
        info = plan.info | {"epoch": counters.epoch, "metrics": figures}
        save_checkpoint(folder, "best", info, _arrays(trainable.kept_weights()))
    training = {f"train_{name}": total / trainable.num_units() for name, total in counters.sums.items()}
    counters.sums = {}
    counters.seconds += time.monotonic() - started
    validation = {f"val_{name}": value for name, value in figures.items()}
    log.append(counters.epoch, seconds=round(counters.seconds, 3), **training, **validation)
    _save_latest(trainable, folder, plan, counters)


def _save_latest(trainable: Trainable, folder: Path, plan: FitConfig, counters: TrainState) -> None:
    info = plan.info | {"config": plan.config, "counters": asdict(counters), "finished": counters.finished}
    weights = _arrays(trainable.module.state_dict())
    save_checkpoint(folder, "latest", info, weights, _optimizer_arrays(trainable.optimizer))


def _resume(trainable: Trainable, folder: Path, plan: FitConfig) -> TrainState:
    refuse_exported(folder, plan.command)
    if not has_checkpoint(folder, "latest"):
        return TrainState(plan.inputs)
    checkpoint = load_checkpoint(folder, "latest", plan.command)
    counters = TrainState(**checkpoint.info["counters"])
    other_data = counters.inputs != plan.inputs
    free = plan.config.keys() - _SHAPE if other_data else _EXTENT
    check_config(checkpoint, plan.settings, plan.command, free)
    load_weights(trainable.module, checkpoint).requires_grad_(True)
    _load_optimizer(trainable.optimizer, checkpoint)
    if other_data:
        # Other data: the weights and the optimiser go on, all else begins again.
        trainable.begin_phase(checkpoint.info)
        start = counters.epoch + (counters.unit > 0)
        return TrainState(plan.inputs, start, start, best_epoch=start, seconds=counters.seconds)
    counters.finished = counters.finished and _finished(plan, counters)
    return counters


def check_config(checkpoint: Checkpoint, settings: Any, command: str, free: Set[str]) -> None:
    """Raises a `VmcError` that names the first setting in which a resumed stage differs from its checkpoint."""
    config = asdict(settings)
    stored = checkpoint.info["config"]
    for name in sorted((stored.keys() | config.keys()) - free):
        if stored.get(name) != config.get(name):
            raise VmcError(
                f"{checkpoint.path.parent} was trained with {name} = {stored.get(name)}; now it is {config.get(name)}.",
                f"Run `{command}` with the old value, or give another --run.",
            )


def _arrays(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _optimizer_arrays(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Adam's moments and step counts, named `<parameter>.<moment>`."""
    return {
        f"{parameter}.{name}": value.detach().cpu().numpy()
        for parameter, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, array in checkpoint.state.items():
        parameter, name = key.split(".")
        state.setdefault(int(parameter), {})[name] = torch.from_numpy(array)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
