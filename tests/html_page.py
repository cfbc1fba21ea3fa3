"""Reads a page of `vmc report` as a browser would: sections, texts, numbers, pictures, and what it would load."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "img", "br", "hr", "input"}


class HtmlPage(HTMLParser):
    """A page.

    Attributes:
        texts: of each section, by its id; that of the page's head under `""`.
        values: the `value` of each `<data>`, by section.
        missing: the texts of the notes of what is missing, by section.
        tags: the number of each element.
        sources: every `src` and `href`, and `url(...)` of styles, but for links within the page.
        tables: of each section, each a list of rows of texts; the first row is the head.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.texts: dict[str, str] = {"": ""}
        self.values: dict[str, list[float]] = {"": []}
        self.missing: dict[str, list[str]] = {"": []}
        self.tables: dict[str, list[list[list[str]]]] = {"": []}
        self.tags: dict[str, int] = {}
        self.sources: list[str] = []
        self.alts: list[str] = []
        self._section, self._open = "", list[tuple[str, str]]()
        self.feed(text)
        self.close()
        assert self._open == [], "every element is closed"

    @classmethod
    def read(cls, path: Path) -> HtmlPage:
        """Reads a file."""
        return cls(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags[tag] = self.tags.get(tag, 0) + 1
        names = ("src", "href", "xlink:href", "data", "action", "poster", "srcset")
        self.sources += [found[name] for name in names if not found.get(name, "#").startswith("#")]
        if tag == "img" or found.get("role") == "img":
            self.alts.append(found.get("alt") or found.get("aria-label") or "")
        if tag == "section":
            self._section = found["id"]
            for part in (self.values, self.missing, self.tables):
                part[self._section] = []  # type: ignore[assignment]
            self.texts[self._section] = ""
        elif tag == "data":
            self.values[self._section].append(float(found["value"]))
        elif tag == "table":
            self.tables[self._section].append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("td", "th"):
            self.tables[self._section][-1][-1].append("")
        elif found.get("class") == "missing":
            self.missing[self._section].append("")
        if tag not in _VOID:
            self._open.append((tag, found.get("class", "")))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        inside = [tag for tag, _ in self._open]
        if "style" in inside:
            assert "url(" not in data
            assert "@import" not in data
            return
        self.texts[self._section] += data
        if "td" in inside or "th" in inside:
            self.tables[self._section][-1][-1][-1] += data
        if ("div", "missing") in self._open:
            self.missing[self._section][-1] += data


def assert_loads_nothing(page: HtmlPage) -> None:
    """All pictures are inside, with words for those who do not see them, and no script runs."""
    assert all(source.startswith("data:") for source in page.sources), page.sources
    assert "script" not in page.tags
    assert "iframe" not in page.tags
    assert all(page.alts)
