"""Learning curves as PNGs (extra `plots`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vmc.errors import VmcError
from vmc.report import style
from vmc.report.search import PLACES, Search, Validation
from vmc.storage.metrics import read_metrics

Lines = Sequence[Mapping[str, Any]]
TRAINING_HEIGHT, SEARCHES_HEIGHT = 3.6, 4.8  # inches


class Curve(NamedTuple):
    """A metric of the training of V or M: its name in `metrics.jsonl`, its title, its unit, and the axis."""

    metric: str
    title: str
    unit: str
    logarithmic: bool = False


# By the stage's folder: the figure's title, and its panels.
TRAINING_CURVES: dict[str, tuple[str, Sequence[Curve]]] = {
    "vae": (
        "Training of V",
        (
            Curve("reconstruction", "Reconstruction", "squared error per frame", logarithmic=True),
            Curve("kl", "KL divergence from the prior", "nats per frame"),
        ),
    ),
    "mdrnn": (
        "Training of M",
        (
            Curve("nll_per_dimension", "NLL of the next z", "nats per dimension"),
            Curve("reward_loss", "Reward", "squared error (scaled)"),
        ),
    ),
}


def plot_run(run: Path) -> list[Path]:
    """Plots the logged metrics of the run's stages; returns the paths of the PNGs, none where it keeps no metrics.

    Raises:
        VmcError: metrics are damaged, or matplotlib is not installed.
    """
    written = []
    for folder, (title, curves) in TRAINING_CURVES.items():
        lines = read_metrics(run / folder)
        if lines:
            path = run / folder / "curves.png"
            with style.drawn(path, TRAINING_HEIGHT) as figure:
                draw_training(figure, lines, title, curves)
            written.append(path)
    search = Search.read(run)
    if search.lines:
        written.append(_plot_search(search, run / "controller" / "fitness.png"))
    return written


def search_height(search: Search) -> float:
    """The height of `draw_search`, in inches."""
    return 1.6 + 2.4 * len(search.places())


def draw_training(figure: Any, lines: Lines, title: str, curves: Sequence[Curve]) -> None:
    """Draws a panel for each metric, over epochs, or one for the loss alone; the epoch that was kept has a star.

    A round begins with a validation and without training, at the epoch where the round before ended.
    """
    rounds = _training_rounds(lines)
    validated = [line for line in rounds[-1] if line["val_loss"] is not None]  # what diverged has none
    kept = min(validated, key=lambda line: float(line["val_loss"]), default=None)
    curves = [curve for curve in curves if f"val_{curve.metric}" in lines[-1]] or [Curve("loss", "Loss", "")]
    for axis, curve in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves, strict=True):
        for each in rounds:
            _draw_split(axis, each, f"train_{curve.metric}", "training", style.TRAINING)
            _draw_split(axis, each, f"val_{curve.metric}", "validation episodes", style.VALIDATION)
        if kept is not None:
            style.mark_kept(axis, kept["step"], kept[f"val_{curve.metric}"], f"kept: epoch {kept['step']}")
        style.mark_rounds(axis, [each[0]["step"] for each in rounds])
        style.whole_numbers(axis)
        axis.set(xlabel="epoch", ylabel=curve.unit, title=curve.title)
        if curve.logarithmic and axis.dataLim.y0 > 0:  # V as `identity` has no error
            style.logarithmic(axis)
    figure.suptitle(title)
    style.legend_below(figure, columns=2)


def _training_rounds(lines: Lines) -> list[list[Mapping[str, Any]]]:
    rounds: list[list[Mapping[str, Any]]] = []
    for line in lines:
        if not rounds or not any(name.startswith("train_") for name in line):
            rounds.append([])
        rounds[-1].append(line)
    return rounds


def _draw_split(axis: Any, lines: Lines, name: str, label: str, color: str) -> None:
    points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    if points:
        axis.plot(*zip(*points, strict=True), color=color, label=label)


def _plot_search(search: Search, path: Path) -> Path:
    with style.drawn(path, search_height(search)) as figure:
        draw_search(figure, search)
    return path


def draw_search(figure: Any, search: Search, paper: tuple[float, str] | None = None) -> None:
    """Draws returns over generations, a panel for each place: those in training as a band, and the validations.

    A return in the dream is no return in the real environment, so each has an axis of its own.

    Args:
        paper: the paper's mean return in the real environment and its label, for a line.
    """
    places = search.places()
    kept = search.kept()
    axes = figure.subplots(len(places), 1, sharex=True, squeeze=False)[:, 0]
    for axis, place in zip(axes, places, strict=True):
        for lines in search.candidates(place):
            _draw_training_returns(axis, lines)
        _draw_validations(axis, search.validations(place))
        if kept is not None and kept[0] == place:
            label = f"kept C: {kept[1].mean_return:.0f}, generation {kept[1].generation}"
            style.mark_kept(axis, kept[1].generation, kept[1].mean_return, label)
        if place == "real" and paper is not None:
            style.mark_paper(axis, *paper)
        style.mark_rounds(axis, search.round_starts())
        axis.set(ylabel=f"return in\n{PLACES[place]}")
    _finish_generations(axes, search)
    figure.suptitle("Search of C")
    style.legend_below(figure, columns=2)


def _draw_training_returns(axis: Any, lines: Lines) -> None:
    worst, mean, best = (np.array([line[name] for line in lines], float) for name in ("worst", "mean", "best"))
    generations = [line["step"] for line in lines]
    band = {"color": style.TRAINING, "alpha": 0.3, "linewidth": 0}
    axis.fill_between(generations, worst, best, label="in training, worst to best", **band)
    axis.plot(generations, mean, color=style.TRAINING, linewidth=1.2, label="in training, mean")


def _draw_validations(axis: Any, validations: Sequence[Validation]) -> None:
    points = [(validation.generation, validation.mean_return) for validation in validations]
    if points:
        axis.plot(*zip(*points, strict=True), "o-", color=style.VALIDATION, label="C on validation episodes")


def _finish_generations(axes: Any, search: Search) -> None:
    """The x axis that the panels share, and the rounds above the first one."""
    last = search.lines[-1]["step"]
    style.number_rounds(axes[0], search.round_starts(), last)
    style.whole_numbers(axes[-1])
    axes[-1].set(xlabel="generation", xlim=(0, 1.02 * last))


def plot_searches(runs: Mapping[str, Path | Sequence[Path]], path: Path) -> Path:
    """Plots the validation return of each search against real frames and against hours, with a star where C was kept.

    Frames and hours include the other stages of a run that `vmc run` made. This also writes `fitness.png` in the folder
    of each search.

    Args:
        runs: the runs by their labels; several runs for one label, such as those of several seeds, are drawn as their
            mean and a band from the lowest to the highest. Runs without validation in the real environment are left
            out.
    """
    searches: dict[str, list[Search]] = {}
    for label, given in runs.items():
        for run in [given] if isinstance(given, Path) else given:
            search = Search.read(run)
            if search.validations("real"):
                _plot_search(search, run / "controller" / "fitness.png")
                searches.setdefault(label, []).append(search)
    with style.drawn(path, SEARCHES_HEIGHT) as figure:
        draw_searches(figure, searches)
    return path


def draw_searches(
    figure: Any,
    searches: Mapping[str, Sequence[Search]],
    paper: tuple[float, str] | None = None,
    styles: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Draws the searches of each label in two panels, over real frames and over hours.

    Args:
        paper: the paper's mean return and its label, for a line.
        styles: a colour and a marker for each label; without them, those of `style.series`.
    """
    axes = figure.subplots(1, 2, sharey=True)
    styles = styles or style.series(searches)
    for label, several in searches.items():
        color, marker = styles[label]
        found = [search.validations("real") for search in several]
        frames = [[(each.real_frames / 1e6, each.mean_return) for each in points] for points in found]
        hours = [[(each.hours, each.mean_return) for each in points] for points in found]
        for axis, curves in zip(axes, (frames, hours), strict=True):
            _draw_pooled(axis, curves, _with_count(style.plain(label), len(several)), color, marker)
        for kept in (search.kept() for search in several):
            if kept is not None and kept[0] == "real":
                style.mark_kept(axes[0], kept[1].real_frames / 1e6, kept[1].mean_return, color=color)
                style.mark_kept(axes[1], kept[1].hours, kept[1].mean_return, color=color)
    for axis in axes:
        if paper is not None:
            style.mark_paper(axis, *paper)
    axes[0].set(xlabel="real frames (millions)", ylabel="return in the real environment", xlim=(0, None))
    axes[1].set(xlabel="time (hours)", xlim=(0, None))
    for axis in axes:
        axis.locator_params(axis="x", nbins=4)
    figure.suptitle("Searches of C, on validation episodes (star: the C that was kept)")
    style.legend_below(figure, columns=2)


def plot_seeds(runs: Sequence[Path], path: Path) -> Path:
    """Plots the validation returns of one recipe's runs, which differ in their seed, over generations.

    A panel for each place: every run as a thin line, their mean, and a band from the lowest to the highest.

    Raises:
        VmcError: no run has validations of a search, or matplotlib is not installed.
    """
    searches = [search for search in map(Search.read, runs) if _all_places([search])]
    if not searches:
        raise VmcError("No run has validations of a search.", "Run `vmc run` or `vmc train-controller` first.")
    with style.drawn(path, height=1.6 + 2.4 * len(_all_places(searches))) as figure:
        draw_seeds(figure, searches)
    return path


def draw_seeds(figure: Any, searches: Sequence[Search]) -> None:
    """Draws searches that differ in their seed; see `plot_seeds`."""
    places = _all_places(searches)
    axes = figure.subplots(len(places), 1, sharex=True, squeeze=False)[:, 0]
    longest = max(searches, key=lambda search: int(search.lines[-1]["step"]))
    for axis, place in zip(axes, places, strict=True):
        found = [search.validations(place) for search in searches]
        curves = [[(each.generation, each.mean_return) for each in points] for points in found if points]
        for curve in curves:
            axis.plot(*zip(*curve, strict=True), color=style.VALIDATION, alpha=0.4, linewidth=1, label="a seed")
        label = _with_count("mean, band: lowest to highest", len(curves))
        _draw_pooled(axis, curves, label, style.VALIDATION, "o")
        for kept in (search.kept() for search in searches):
            if kept is not None and kept[0] == place:
                style.mark_kept(axis, kept[1].generation, kept[1].mean_return, "kept C")
        style.mark_rounds(axis, longest.round_starts())
        axis.set(ylabel=f"return in\n{PLACES[place]}")
    _finish_generations(axes, longest)
    figure.suptitle(f"Search of C, {len(searches)} seeds, on validation episodes")
    style.legend_below(figure, columns=2)


def _all_places(searches: Sequence[Search]) -> list[str]:
    return [place for place in PLACES if any(search.validations(place) for search in searches)]


def _with_count(label: str, number: int) -> str:
    return label if number == 1 else f"{label} ({number} seeds)"


def _draw_pooled(
    axis: Any, curves: Sequence[Sequence[tuple[float, float]]], label: str, color: str, marker: str
) -> None:
    """One curve as it is; of several the mean, and a band from the lowest to the highest."""
    grid, values = _on_one_grid(curves)
    axis.plot(grid, values.mean(axis=0), marker=marker, color=color, label=label)
    if len(curves) > 1:
        axis.fill_between(grid, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, linewidth=0)


def _on_one_grid(
    curves: Sequence[Sequence[tuple[float, float]]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The x of all curves, where every curve is defined, and each curve's y there, interpolated: (X,), (N, X)."""
    arrays = [np.array(curve, np.float64).T for curve in curves]
    first, last = max(x[0] for x, _ in arrays), min(x[-1] for x, _ in arrays)
    grid = np.unique(np.concatenate([x for x, _ in arrays]))
    grid = grid[(grid >= first) & (grid <= last)]
    return grid, np.stack([np.interp(grid, x, y) for x, y in arrays])
