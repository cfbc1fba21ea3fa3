"""Figures as SVG in the body of a page, in the page's own colours, so that they fit a light page and a dark one."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

from vmc.report import style

_INK, _GRID = "#262626", "#e5e5e5"
_PAGE_COLORS = {
    _INK: "currentColor",
    "#000000": "currentColor",
    _GRID: "var(--grid)",
    style.REFERENCE: "var(--reference)",
    style.VALIDATION.lower(): "var(--validation)",
}
_CHANGES = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    "grid.color": _GRID,
    "svg.hashsalt": "vmc",  # the same figure is the same text
}


def inline_svg(draw: Callable[[Any], None], height: float, name: str) -> str:
    """A figure as an `<svg>` element without a size of its own.

    Args:
        draw: draws on an empty figure.
        height: in inches; see `style.empty_figure`.
        name: in front of all ids: those of a page's figures must differ.

    Raises:
        VmcError: matplotlib is not installed.
    """
    text = io.StringIO()
    with style.empty_figure(height, _CHANGES) as figure, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # in a run's name
        draw(figure)
        figure.savefig(text, format="svg", metadata={"Date": None})
    return _for_a_page(text.getvalue(), name)


def _for_a_page(svg: str, name: str) -> str:
    """Without prolog, metadata, comments, rules for the whole page, and size."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height|version)="[^"]*"', "", head)
    rest = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", rest)
    for color, of_page in _PAGE_COLORS.items():
        rest = rest.replace(color, of_page)
    return f'{head} aria-hidden="true">{rest}'.strip()
