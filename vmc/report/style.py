"""How every figure looks: one style, and one colour for each meaning (extra `plots`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

from vmc.extras import missing
from vmc.storage.files import replacing

# The colours of Okabe and Ito, which colour-blind readers can tell apart.
TRAINING = "#E69F00"  # what was optimised: training data, the candidates of a search
VALIDATION = "#0072B2"  # validation episodes
TEST = "#56B4E9"  # test episodes
PREDICTED = "#D55E00"  # what M predicts, dreams
PERSISTENCE = "#009E73"  # the prediction that nothing changes
REFERENCE = "#666666"  # chance level, perfect calibration, where a round begins
KEPT = "#F0E442"  # the model that was kept
# For runs that are compared in one figure; the markers serve those who print in grey.
SERIES = (
    ("#0072B2", "o"),
    ("#E69F00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "v"),
    ("#D55E00", "D"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
WIDTH = 7.0  # inches

# Readable when the figure is shown at half its width.
STYLE: Any = {
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "figure.titlesize": 13,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "figure.facecolor": "white",
    "savefig.dpi": 150,
}


@contextmanager
def empty_figure(height: float, changes: Any = None) -> Iterator[Any]:
    """Yields an empty figure to draw on and to save.

    Args:
        height: in inches; the width is `WIDTH`.
        changes: of the style, a mapping.

    Raises:
        VmcError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise missing("plots") from None
    # A figure of its own, without pyplot: the style of the caller's own figures stays as it is.
    with mpl.rc_context({**STYLE, **(changes or {})}):
        yield Figure(figsize=(WIDTH, height), layout="constrained")


@contextmanager
def drawn(path: Path, height: float) -> Iterator[Any]:
    """Yields an empty figure to draw on, and then writes it as PNG.

    Args:
        height: in inches; the width is `WIDTH`.

    Raises:
        VmcError: matplotlib is not installed, or the file cannot be written.
    """
    with empty_figure(height) as figure:
        yield figure
        with replacing(path) as partial:
            figure.savefig(partial, format="png")


def series(labels: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each label. They begin again after the last one."""
    return dict(zip(labels, cycle(SERIES), strict=False))


def whole_numbers(axis: Any, which: str = "x") -> None:
    """Ticks of the x axis, or the y axis, at whole numbers: there is no half generation."""
    from matplotlib.ticker import MaxNLocator

    getattr(axis, f"{which}axis").set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def logarithmic(axis: Any) -> None:
    """A y axis of powers, with plain numbers at its ticks."""
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter(ScalarFormatter())


def plain(label: str) -> str:
    """A name as a label, letter by letter: without mathematics between dollar signs; an underscore does not hide it."""
    return (" " if label.startswith("_") else "") + label.replace("$", r"\$")


def mark_paper(axis: Any, value: float, label: str, vertical: bool = False) -> None:
    """A line at the paper's score; vertical where returns are on the x axis."""
    draw = axis.axvline if vertical else axis.axhline
    draw(value, color=REFERENCE, linestyle="--", linewidth=1.5, label=label, zorder=3)


def mark_kept(axis: Any, x: float, y: float, label: str | None = None, color: str = KEPT) -> None:
    """A star at the validation whose model was kept."""
    axis.plot([x], [y], "*", color=color, markeredgecolor="black", markersize=13, zorder=5, label=label, clip_on=False)


def mark_rounds(axis: Any, starts: Sequence[float]) -> None:
    """A line where each round begins but the first."""
    for start in starts[1:]:
        axis.axvline(start, color=REFERENCE, linewidth=0.8, linestyle=":", zorder=1, label="a round begins")


def number_rounds(axis: Any, starts: Sequence[float], end: float) -> None:
    """The number of each round above the axis; nothing for a single round."""
    if len(starts) < 2:
        return
    above = {"transform": axis.get_xaxis_transform(), "va": "bottom", "color": REFERENCE, "fontsize": 11}
    axis.text(starts[0], 1.01, "round  ", ha="right", **above)
    for number, (left, right) in enumerate(zip(starts, [*starts[1:], end], strict=True), start=1):
        axis.text((left + right) / 2, 1.01, f"{number}", ha="center", **above)


def legend_below(figure: Any, columns: int) -> None:
    """One legend for all panels, below them, where it covers no data."""
    entries: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns)
