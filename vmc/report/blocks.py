"""What a page consists of: a headline, and sections of texts, tables, figures and notes of what is missing.

In texts, words between backticks are code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Number:
    """A number as a file states it, and as it is shown."""

    value: float
    text: str


# Several parts stand one after another.
Cell = str | Number | tuple[str | Number, ...]


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Missing:
    """A part that is not there: why, in a sentence, and the command that makes it, if there is one."""

    kind: ClassVar[str] = "missing"
    text: str
    command: str | None = None


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        head: the columns' titles.
        rows: of cells.
        caption: below it.
        title: if given, the table is folded below this title.
        total: the last row is the sum of the others.
    """

    kind: ClassVar[str] = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    title: str = ""
    total: bool = False


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes:
        svg: an `<svg>` element (`vmc.report.svg`).
        alt: what is to be seen, for those who cannot see it.
        caption: below it.
    """

    kind: ClassVar[str] = "figure"
    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture of pixels, as a data URI."""

    kind: ClassVar[str] = "picture"
    uri: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Panel:
    """One row of a film strip: a data URI for each moment, and the pictures' width and height."""

    label: str
    uris: Sequence[str]
    size: tuple[int, int]


@dataclass(frozen=True)
class Strip:
    """Moments of a film in columns, its panels in rows."""

    kind: ClassVar[str] = "strip"
    steps: Sequence[int]
    panels: Sequence[Panel]
    caption: str = ""


@dataclass(frozen=True)
class Code:
    """Lines to copy; with a title, they are folded below it."""

    kind: ClassVar[str] = "code"
    text: str
    title: str = ""


Block = Text | Missing | Table | Figure | Picture | Strip | Code


@dataclass(frozen=True)
class Section:
    """A part of a page, with a name for links."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Headline:
    """The score at the top: mean and deviation, a line below, and further figures by their titles."""

    mean: Number
    std: Number
    line: str
    facts: Mapping[str, Cell]


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    lead: str
    sections: Sequence[Section]
    headline: Headline | Missing | None = None
