"""Learning curves of a run as PNGs (extra `plots`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmc.errors import VmcError
from vmc.extras import missing
from vmc.storage.files import replacing
from vmc.storage.metrics import read_metrics

_TRAINING_CURVES = {
    "vae": ("V", ("reconstruction", "kl")),
    "mdrnn": ("M", ("nll_per_dimension", "reward_loss")),
}


def plot_run(run: Path) -> list[Path]:
    """Plots the logged metrics of the run's stages; returns the paths of the PNGs.

    Raises:
        VmcError: the run has no metrics, or matplotlib is not installed.
    """
    plt = pyplot()
    written = []
    for folder, (title, names) in _TRAINING_CURVES.items():
        lines = read_metrics(run / folder)
        if lines:
            written.append(_plot_training(plt, lines, title, names, run / folder / "curves.png"))
    lines = read_metrics(run / "controller")
    if lines:
        written.append(_plot_fitness(plt, lines, run / "controller" / "fitness.png"))
    if not written:
        raise VmcError(f"{run} has no metrics.", "Run `vmc run` or a training stage first, or give another --run.")
    return written


def _plot_training(plt: Any, lines: list[dict[str, Any]], title: str, names: tuple[str, ...], path: Path) -> Path:
    figure, axes = plt.subplots(1, len(names), figsize=(5 * len(names), 3.2), layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        for split, style in (("train", "-"), ("val", "--")):
            points = [(line["step"], line[f"{split}_{name}"]) for line in lines if f"{split}_{name}" in line]
            axis.plot(*zip(*points, strict=True), style, label="validation" if split == "val" else "training")
        axis.set(xlabel="epoch", title=f"{title}: {name.replace('_', ' ')}")
    axes[0].legend()
    return save_figure(plt, figure, path)


def _plot_fitness(plt: Any, lines: list[dict[str, Any]], path: Path) -> Path:
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    generations = [line["step"] for line in lines]
    axis.fill_between(
        generations,
        [line["worst"] for line in lines],
        [line["best"] for line in lines],
        alpha=0.2,
        label="candidates",
    )
    axis.plot(generations, [line["mean"] for line in lines], label="mean of the candidates")
    dreamed = [(line["step"], found) for line, found in _validations(lines, "dream")]
    real = [(line["step"], found) for line, found in _validations(lines, "real")]
    for points, place in ((dreamed, "in the dream"), (real, "in the real environment")):
        if points:
            axis.plot(*zip(*points, strict=True), "o-", label=f"search mean, validation episodes {place}")
    axis.set(xlabel="generation", ylabel="episode return", title="C: fitness")
    axis.legend()
    return save_figure(plt, figure, path)


def _validations(lines: list[dict[str, Any]], place: str) -> list[tuple[dict[str, Any], float]]:
    """The lines that hold a validation in `place`, `real` or `dream`, each with its return."""
    return [(line, line["validation_return"]) for line in lines if line.get("validated_in") == place]


def plot_searches(runs: Mapping[str, Path], path: Path) -> Path:
    """Plots the validation return of each search's mean against real frames and against hours.

    Frames and hours include the other stages of a run that `vmc run` made. This also writes `fitness.png` in the folder
    of each search.

    Args:
        runs: the runs by their labels; runs without validation in the real environment are left out.
    """
    plt = pyplot()
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for label, run in runs.items():
        lines = read_metrics(run / "controller")
        validations = _validations(lines, "real")
        if validations:
            _plot_fitness(plt, lines, run / "controller" / "fitness.png")
            before = [_before_the_search(run, line["phase"]) for line, _ in validations]
            frames = [(line["real_steps"] + cost[0]) / 1e6 for (line, _), cost in zip(validations, before, strict=True)]
            hours = [(line["seconds"] + cost[1]) / 3600 for (line, _), cost in zip(validations, before, strict=True)]
            returns = [found for _, found in validations]
            axes[0].plot(frames, returns, "o-", markersize=3, label=label)
            axes[1].plot(hours, returns, "o-", markersize=3, label=label)
    axes[0].set(xlabel="million real frames", ylabel="validation return in the real environment")
    axes[1].set(xlabel="hours")
    if axes[0].lines:
        axes[0].legend()
    return save_figure(plt, figure, path)


def _before_the_search(run: Path, number: int) -> tuple[float, float]:
    """Real frames and seconds of the other stages, up to the search of round `number`; 0 without a `run.json`."""
    path = run / "run.json"
    records = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    before = [record for record in records if record["round"] <= number and record["stage"] != "test"]
    frames = [record["metrics"]["frames"] for record in before if record["stage"] == "rollouts"]
    seconds = sum(record["seconds"] for record in before if record["stage"] != "train-controller")
    return (frames[-1] if frames else 0, seconds)


def save_figure(plt: Any, figure: Any, path: Path) -> Path:
    """Writes a figure as PNG, closes it, and returns the path."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120, format="png")
    plt.close(figure)
    return path


def pyplot() -> Any:
    """Returns matplotlib.pyplot with a backend that draws to files.

    Raises:
        VmcError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        raise missing("plots") from None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    return plt
