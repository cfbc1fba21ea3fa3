"""The figure of how closely the dream agrees with the real environment (extra `plots`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vmc.report import style

_NO_CURVES = "the validation episodes\nare too short"


def plot_faithfulness(report: dict[str, Any], path: Path) -> None:
    """Plots four panels as PNG; see `draw_faithfulness`.

    Args:
        report: the report of `vmc faithfulness`, with `open_loop`, `gap`, `reward` and `termination`.

    Raises:
        VmcError: matplotlib is not installed.
    """
    with style.drawn(path, height=7.2) as figure:
        draw_faithfulness(figure, report)


def draw_faithfulness(figure: Any, report: dict[str, Any]) -> None:
    """Draws the error over the horizon, dream return and real return, and the calibration of M's two heads."""
    axes = figure.subplots(2, 2)
    _draw_open_loop(axes[0, 0], report["open_loop"])
    _draw_gap(axes[0, 1], report["gap"])
    _draw_calibration(axes[1, 0], report["reward"], "Reward, one step ahead", "reward")
    _draw_calibration(axes[1, 1], report["termination"], "Termination, one step ahead", "probability")
    figure.suptitle("The dream against the real environment, on validation episodes")
    style.legend_below(figure, columns=2)


def _draw_open_loop(axis: Any, curves: dict[str, Any] | None) -> None:
    axis.set(xlabel="steps since the last observation", ylabel="RMS error of z", title="Open loop")
    if curves is None:
        axis.text(0.5, 0.5, _NO_CURVES, ha="center", va="center", transform=axis.transAxes)
        return
    steps = range(1, len(curves["dream"]) + 1)
    axis.plot(steps, curves["dream"], color=style.PREDICTED, label="predicted by M")
    axis.plot(steps, curves["copy"], color=style.PERSISTENCE, linestyle="--", label="persistence (the last z)")
    axis.axhline(curves["spread"], color=style.REFERENCE, linestyle=":", label="chance level (the mean z)")
    axis.set_ylim(0, None)
    style.whole_numbers(axis)


def _draw_gap(axis: Any, gap: dict[str, Any]) -> None:
    errors = {"xerr": gap["dream_error"], "yerr": gap["real_error"]}
    bars = {"fmt": "none", "color": style.REFERENCE, "elinewidth": 1.2, "label": "standard error of the mean"}
    axis.errorbar(gap["dream"], gap["real"], zorder=1, **bars, **errors)
    colors = {"c": gap["generations"], "cmap": "viridis", "edgecolors": style.REFERENCE, "linewidths": 0.8}
    points = axis.scatter(gap["dream"], gap["real"], zorder=2, **colors)
    axis.figure.colorbar(points, ax=axis, label="generation")
    axis.set(
        xlabel="return in the dream",
        ylabel="return in the\nreal environment",
        title=f"Returns, rank correlation {gap['rank_correlation']:.2f}",
    )


def _draw_calibration(axis: Any, bins: dict[str, list[float]], title: str, unit: str) -> None:
    said, happened = bins["said"], bins["happened"]
    ends = [min(said + happened), max(said + happened)]
    axis.plot(ends, ends, color=style.REFERENCE, linestyle="-", linewidth=1, label="perfect calibration")
    axis.plot(said, happened, "o", color=style.VALIDATION, label="mean of a tenth of the steps")
    axis.set(xlabel=f"predicted {unit}", ylabel=f"observed {unit}", title=title)
    axis.locator_params(nbins=5)
