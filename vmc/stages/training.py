"""The training loop that V and M share: epochs of units, validation, early stopping, exact resume.

A unit is the smallest piece of training after which a checkpoint can be made: a batch of frames for V, a batch of
whole episodes for M. All randomness of a unit is derived from (seed, epoch, unit), so nothing but the weights, the
optimiser and a few counters must be kept to resume bit for bit.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from vmc.errors import Terminated, VmcError
from vmc.models.checkpoints import check_config, refuse_exported, stored_values
from vmc.models.loading import forms_of, load_weights
from vmc.progress import Progress
from vmc.storage.checkpoint import Checkpoint, check_forms, has_checkpoint, load_checkpoint, save_checkpoint
from vmc.storage.files import write_json
from vmc.storage.metrics import MetricsLog

_CHECKPOINT_SECONDS = 60.0
WAITING = "waiting_share"
# In a group of an optimiser's parameters: its learning rate as a share of the stage's.
LR_SHARE = "lr_share"
# What may change when a stage is resumed: it only makes the training longer or shorter.
_EXTENT = {"epochs", "patience"}
# What may not change even where the data have: the weights go on.
_SHAPE = {"env", "vision", "dynamics", "mixture"}


class Trainable(Protocol):
    """The methods that V's and M's trainings give to the loop."""

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
        """Trains one unit; returns its metrics, `loss` among them."""
        ...

    def begin_phase(self, before: Mapping[str, Any]) -> None:
        """Called when a loaded model is about to train on other data than before; `before` is its checkpoint's info."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures on the validation episodes; `loss` decides which weights are the best."""
        ...

    def kept_weights(self) -> dict[str, Tensor]:
        """Returns the module's weights, kept as the best, made ready for those who use it. Called after `validate`."""
        ...


@dataclass
class TrainState:
    """The counters of a training.

    `inputs` names what it trains on (data, V). When that changes, a new phase begins: the weights go on, the best
    loss and the patience start afresh.

    Attributes:
        nothing_to_do: where the training was finished before: how it ended, as a sentence; else empty. It is not kept.
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
    nothing_to_do: str = ""

    def stored(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {name: value for name, value in asdict(self).items() if name != "nothing_to_do"}


@dataclass(frozen=True)
class FitConfig:
    """The settings of `fit`.

    Attributes:
        name: for progress and messages.
        command: the command that runs this stage.
        epochs: at most so many, counted from the start of the phase.
        patience: stop after so many epochs without a better validation loss.
        settings: the stage's dataclass, with `learning_rate` and `final_lr_fraction`. On resume only the extent of the
            training may change.
        inputs: hashes of what is trained on.
        info: kept in the checkpoints for those who load the model.
        graphs: exported graphs of the model, for worker processes; kept with the best one.
        loggers: where the metrics go beside `metrics.jsonl` (`vmc.storage.metrics.LOGGERS`).
    """

    name: str
    command: str
    epochs: int
    patience: int
    settings: Any
    inputs: dict[str, str]
    info: dict[str, Any]
    graphs: Mapping[str, bytes]
    loggers: Sequence[str] = ()

    @property
    def settings_dict(self) -> dict[str, Any]:
        """The settings as they are kept."""
        return asdict(self.settings)


def fit(trainable: Trainable, folder: Path, config: FitConfig) -> TrainState:
    """Trains until the config is fulfilled, resuming from `folder/latest.json` where there is one.

    Returns:
        The final state; the best weights are in `folder/best.json`.

    Raises:
        VmcError: settings that changed, a corrupt checkpoint, a loss that is not finite.
    """
    if trainable.num_units() == 0:
        raise VmcError(
            f"{config.name}: the training data do not fill one batch.", "Collect more, or lower --batch-size."
        )
    state = _resume(trainable, folder, config)
    if state.finished:
        state.nothing_to_do = _how_it_ended(folder, config, state)
    else:
        write_json(folder / "config.json", config.settings_dict)
    # A phase begins with a validation, which logs its epoch a second time.
    log = MetricsLog(folder, state.epoch if state.best else state.epoch - 1, config.loggers)
    if not state.best:
        _validate(trainable, folder, config, state, log)
    with closing(log), _deferred_interrupt() as interrupt:
        while not _finished(config, state):
            _train_epoch(trainable, folder, config, state, interrupt)
            state.epoch, state.unit = state.epoch + 1, 0
            _validate(trainable, folder, config, state, log)
        if not state.finished:
            state.finished = True
            _save_latest(trainable, folder, config, state)
        interrupt.raise_if_it_has_come()
    return state


def _finished(config: FitConfig, state: TrainState) -> bool:
    epochs_done = state.epoch - state.phase_start
    return epochs_done >= config.epochs or state.epoch - state.best_epoch >= config.patience


def _how_it_ended(folder: Path, config: FitConfig, state: TrainState) -> str:
    epochs, since = state.epoch - state.phase_start, state.epoch - state.best_epoch
    if epochs and epochs < config.epochs:
        return f"{config.name} in {folder} ended after {epochs} epochs: the last {since} brought no better loss."
    return f"{config.name} in {folder} has {epochs} epochs already." if epochs else f"{config.name} is in {folder}."


def _set_learning_rate(trainable: Trainable, config: FitConfig, state: TrainState) -> None:
    """Falls linearly over the phase, to the share `final_lr_fraction` of itself."""
    done = (state.epoch - state.phase_start + state.unit / trainable.num_units()) / config.epochs
    share = 1 + (config.settings.final_lr_fraction - 1) * done
    for group in trainable.optimizer.param_groups:
        group["lr"] = config.settings.learning_rate * share * group.get(LR_SHARE, 1)


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
        """The share of time that was spent waiting for a batch."""
        return (self._came - self._began) / (time.perf_counter() - self._began)


class Interrupt:
    """The first Ctrl-C or SIGTERM of a training, which waits until no weight update is cut in half."""

    def __init__(self) -> None:
        self._error: KeyboardInterrupt | None = None

    @property
    def has_come(self) -> bool:
        """Whether there was one."""
        return self._error is not None

    def note(self, number: int) -> None:
        """It has come."""
        self._error = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()

    def raise_if_it_has_come(self) -> None:
        """Ends the training, if it is to end."""
        if self._error is not None:
            raise self._error


@contextmanager
def _deferred_interrupt() -> Iterator[Interrupt]:
    """Turns the first interrupt into a note; the second one is at once."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def defer(number: int, frame: FrameType | None) -> None:
        interrupt.note(number)
        restore()

    for number in usual:
        signal.signal(number, defer)
    try:
        yield interrupt
    finally:
        restore()


def _train_epoch(
    trainable: Trainable, folder: Path, config: FitConfig, state: TrainState, interrupt: Interrupt
) -> None:
    started = saved = time.monotonic()
    before = state.seconds
    title = f"{config.name} epoch {state.epoch + 1 - state.phase_start}/{config.epochs}"
    total = trainable.num_units()
    trainable.module.train()
    with Progress(title, total, trainable.unit, done=state.unit) as progress:
        batches = Clocked(trainable.batches(state.epoch, state.unit))
        for batch in batches:
            _set_learning_rate(trainable, config, state)
            metrics = trainable.train_batch(batch)
            if not np.isfinite(metrics["loss"]):
                raise VmcError(
                    f"{config.name}: the loss is {metrics['loss']} in epoch {state.epoch + 1}.",
                    "The last checkpoint is sound. Lower --learning-rate in another --run.",
                )
            state.unit += 1
            metrics[WAITING] = batches.waiting_share()
            for name, value in metrics.items():
                state.sums[name] = state.sums.get(name, 0.0) + value
            now = time.monotonic()
            state.seconds = before + now - started
            progress.advance(1, **{name: state.sums[name] / state.unit for name in ("loss", WAITING)})
            if interrupt.has_come or (now - saved > _CHECKPOINT_SECONDS and state.unit < total):
                _save_latest(trainable, folder, config, state)
                saved = now
            interrupt.raise_if_it_has_come()


def _validate(trainable: Trainable, folder: Path, config: FitConfig, state: TrainState, log: MetricsLog) -> None:
    """Validates, keeps the weights if they are the best of the phase, logs, and checkpoints."""
    started = time.monotonic()
    trainable.module.eval()
    with torch.no_grad():
        metrics = trainable.validate()
    if not state.best or metrics["loss"] < state.best["loss"]:
        state.best, state.best_epoch = metrics, state.epoch
        info = config.info | {"epoch": state.epoch, "metrics": metrics}
        save_checkpoint(folder, "best", info, _arrays(trainable.kept_weights()), graphs=config.graphs)
    training = {f"train_{name}": total / trainable.num_units() for name, total in state.sums.items()}
    state.sums = {}
    state.seconds += time.monotonic() - started
    validation = {f"val_{name}": value for name, value in metrics.items()}
    log.append(state.epoch, seconds=round(state.seconds, 3), **training, **validation)
    _save_latest(trainable, folder, config, state)


def _save_latest(trainable: Trainable, folder: Path, config: FitConfig, state: TrainState) -> None:
    info = config.info | {"config": config.settings_dict, "state": state.stored(), "finished": state.finished}
    weights = _arrays(trainable.module.state_dict())
    save_checkpoint(folder, "latest", info, weights, _optimizer_arrays(trainable.optimizer))


def _resume(trainable: Trainable, folder: Path, config: FitConfig) -> TrainState:
    refuse_exported(folder, config.command)
    if not has_checkpoint(folder, "latest"):
        return TrainState(config.inputs)
    checkpoint = load_checkpoint(folder, "latest", config.command)
    state = stored_values(TrainState, checkpoint.info["state"], checkpoint.path)
    other_data = state.inputs != config.inputs
    free = config.settings_dict.keys() - _SHAPE if other_data else _EXTENT
    check_config(checkpoint, config.settings, config.command, free)
    load_weights(trainable.module, checkpoint).requires_grad_(True)
    _load_optimizer(trainable.optimizer, checkpoint)
    if other_data:
        # Other data: the weights and the optimiser go on, all else begins again.
        trainable.begin_phase(checkpoint.info)
        start = state.epoch + (state.unit > 0)
        return TrainState(config.inputs, start, start, best_epoch=start, seconds=state.seconds)
    state.finished = state.finished and _finished(config, state)
    return state


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
    if checkpoint.state:  # the state of before the first step is empty
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        moments = {f"{n}.{name}": each for n, each in enumerate(parameters) for name in ("exp_avg", "exp_avg_sq")}
        steps = {f"{number}.step": torch.zeros(()) for number in range(len(parameters))}
        check_forms(checkpoint.path, forms_of(moments | steps), checkpoint.state)
    state: dict[int, dict[str, Tensor]] = {}
    for key, array in checkpoint.state.items():
        parameter, name = key.split(".")
        state.setdefault(int(parameter), {})[name] = torch.from_numpy(array)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
