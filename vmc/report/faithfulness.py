"""The plot of how closely the dream agrees with the real environment (extra `plots`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vmc.report.curves import pyplot, save_figure


def plot_faithfulness(report: dict[str, Any], path: Path) -> None:
    """Plots four panels as PNG: error over the horizon, dream return and real return, calibration of M's two heads.

    Args:
        report: the report of `vmc faithfulness`, with `open_loop`, `gap`, `reward` and `termination`.

    Raises:
        VmcError: matplotlib is not installed.
    """
    plt = pyplot()
    figure, axes = plt.subplots(2, 2, figsize=(9, 7.5), layout="constrained")
    _plot_open_loop(axes[0, 0], report["open_loop"])
    _plot_gap(axes[0, 1], report["gap"])
    for axis, name in zip(axes[1], ("reward", "termination"), strict=True):
        said, happened = report[name]["said"], report[name]["happened"]
        ends = [min(said + happened), max(said + happened)]
        axis.plot(ends, ends, color="grey", linewidth=0.8)
        axis.plot(said, happened, "o-")
        axis.set(xlabel="predicted, one step ahead", ylabel="observed", title=f"{name}, bin means, validation episodes")
    save_figure(plt, figure, path)


def _plot_open_loop(axis: Any, curves: dict[str, Any] | None) -> None:
    axis.set(xlabel="dream steps with the recorded actions", ylabel="RMS error of z", title="open loop")
    if curves is None:
        axis.text(0.5, 0.5, "validation episodes are too short", ha="center", transform=axis.transAxes)
        return
    steps = range(1, len(curves["dream"]) + 1)
    axis.plot(steps, curves["dream"], label="M's dream")
    axis.plot(steps, curves["copy"], "--", label="copy of the first z")
    axis.axhline(curves["spread"], color="grey", linewidth=0.8, label="mean of z")
    axis.legend()


def _plot_gap(axis: Any, gap: dict[str, Any]) -> None:
    axis.errorbar(
        gap["dream"], gap["real"], xerr=gap["dream_error"], yerr=gap["real_error"], fmt="none", color="grey", zorder=0
    )
    points = axis.scatter(gap["dream"], gap["real"], c=gap["generations"])
    axis.figure.colorbar(points, ax=axis, label="generation")
    axis.set(
        xlabel="return in the dream",
        ylabel="return in the real environment",
        title=f"controllers of one search, rank correlation {gap['rank_correlation']:.2f}",
    )
