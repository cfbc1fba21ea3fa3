import re
from typing import Any
from xml.etree import ElementTree

from vmc.report.svg import inline_svg


def _draw(figure: Any) -> None:
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="#000000", label="a < b & c -->")
    axis.set(title="日本")  # no glyph of the font
    axis.legend()


def test_a_figure_is_one_element_in_the_pages_colours() -> None:
    svg = inline_svg(_draw, 3, "one")
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert {"width", "height"}.isdisjoint(root.attrib)
    assert "viewBox" in root.attrib
    assert "currentColor" in svg
    assert "var(--grid)" in svg
    assert not re.search("#000000|#262626|<style|<metadata|<!--|#ffffff", svg)


def test_the_ids_of_two_figures_differ() -> None:
    one, two = (inline_svg(_draw, 3, name) for name in ("one", "two"))
    ids = [set(re.findall(r'id="([^"]+)"', svg)) for svg in (one, two)]
    assert ids[0]
    assert ids[0].isdisjoint(ids[1])
    for svg, known in zip((one, two), ids, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= known


def test_the_same_figure_is_the_same_text() -> None:
    assert inline_svg(_draw, 3, "one") == inline_svg(_draw, 3, "one")
