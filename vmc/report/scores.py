"""Figures of scores: the returns of all test episodes, and the means of several runs with their intervals."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vmc.report import style

_MOST_BINS = 40
_NAME_WIDTH = 26  # letters of a run's name in a line


class Published(NamedTuple):
    """The paper's score: as it is printed there, and its mean."""

    text: str
    mean: float

    @classmethod
    def read(cls, text: str) -> Published | None:
        """The score `906 ± 21`; None where the text begins with no number."""
        found = re.match(r"-?\d+(\.\d+)?", text)
        return cls(text, float(found[0])) if found else None

    @property
    def label(self) -> str:
        """How a figure names its line."""
        return f"the paper: {self.text}"


class Mean(NamedTuple):
    """A run's mean return and its 95% interval."""

    name: str
    mean: float
    low: float
    high: float


def draw_returns(
    figure: Any, returns: Sequence[float], mean: float, interval: Sequence[float], paper: Published | None
) -> None:
    """Draws a histogram of the returns of all episodes, with their mean, its 95% interval and the paper's mean."""
    axis = figure.subplots()
    counts, _, _ = axis.hist(returns, bins=_edges(returns), color=style.TEST, rwidth=0.92, label="test episodes")
    low, high = interval
    bar = {"fmt": "o", "color": "black", "markersize": 7, "elinewidth": 2.5, "capsize": 5}
    label = f"mean {mean:.1f}, 95% interval {low:.1f} to {high:.1f}"
    axis.errorbar([mean], [1.12 * max(counts)], xerr=[[mean - low], [high - mean]], label=label, **bar)
    axis.set_ylim(0, 1.22 * max(counts))
    if paper is not None:
        style.mark_paper(axis, paper.mean, paper.label, vertical=True)
    axis.grid(visible=False, axis="x")
    axis.set(xlabel="return of an episode", ylabel="number of episodes")
    style.whole_numbers(axis, "y")
    style.legend_below(figure, columns=1)


def _edges(returns: Sequence[float]) -> Any:
    """Bins of one width, by the Freedman-Diaconis and Sturges rules, and not too many of them."""
    try:
        edges = np.histogram_bin_edges(returns, "auto")
    except ValueError:  # so far apart that the rules ask for more bins than there is memory
        return np.linspace(min(returns), max(returns), _MOST_BINS)
    return edges if len(edges) <= _MOST_BINS else np.histogram_bin_edges(returns, _MOST_BINS)


def means_height(number: int) -> float:
    """The height of `draw_means` for so many runs, in inches."""
    return 1.9 + 0.48 * number


def draw_means(
    figure: Any, means: Sequence[Mean], paper: Published | None, styles: Mapping[str, tuple[str, str]]
) -> None:
    """Draws the mean of each run in a line of its own, the first at the top, with a bar from low to high.

    Args:
        styles: a colour and a marker for each name.
    """
    axis = figure.subplots()
    for row, each in enumerate(means):
        color, marker = styles[each.name]
        bar = [[each.mean - each.low], [each.high - each.mean]]
        axis.errorbar([each.mean], [row], xerr=bar, fmt=marker, color=color, markersize=8, elinewidth=2.5, capsize=5)
    if paper is not None:
        style.mark_paper(axis, paper.mean, paper.label, vertical=True)
    names = [textwrap.fill(style.plain(each.name), _NAME_WIDTH) for each in means]
    axis.set_yticks(range(len(means)), names)
    axis.set(ylim=(len(means) - 0.4, -0.6), xlabel="mean return, with its 95% interval")
    axis.margins(x=0.1)
    axis.grid(visible=False, axis="y")
    style.legend_below(figure, columns=1)
