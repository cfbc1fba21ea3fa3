import sys
from pathlib import Path

import numpy as np
import pytest
from html_page import HtmlPage, assert_loads_nothing

from vmc.errors import VmcError
from vmc.report.blocks import Code, Headline, Missing, Number, Page, Panel, Picture, Section, Strip, Table, Text
from vmc.report.page import page_html, write_page
from vmc.report.pixels import array_uri, file_uri
from vmc.storage.files import CannotWriteError

HOSTILE = "</style><script>x</script> & \" ' `a <b>`"


def _page() -> Page:
    uri = array_uri(np.zeros((4, 8, 3), np.uint8), 4)
    blocks = [
        Text(HOSTILE),
        Missing(HOSTILE, HOSTILE),
        Table([HOSTILE], [[HOSTILE], [Number(0.1 + 0.2, "0.3")], [(Number(1, "1"), HOSTILE)]], HOSTILE, HOSTILE),
        Picture(uri, HOSTILE, HOSTILE),
        Strip([0, 5], [Panel(HOSTILE, [uri, uri], (8, 4))], HOSTILE),
        Code(HOSTILE, HOSTILE),
    ]
    headline = Headline(Number(1.25, "1.2"), Number(2, "2"), HOSTILE, {HOSTILE: HOSTILE})
    return Page(HOSTILE, HOSTILE, [Section("one", HOSTILE, blocks)], headline)


def test_all_texts_are_escaped() -> None:
    page = HtmlPage(page_html(_page()))
    assert_loads_nothing(page)
    assert page.tags["style"] == 1
    assert "b" not in page.tags
    assert page.texts["one"].count("<script>x</script>") >= 9


def test_numbers_are_there_to_the_last_digit() -> None:
    page = HtmlPage(page_html(_page()))
    assert page.values == {"": [1.25, 2], "one": [0.1 + 0.2, 1]}
    assert page.tables["one"][0][2] == ["0.3"]


def test_a_strip_has_every_picture_with_its_words() -> None:
    page = HtmlPage(page_html(_page()))
    assert page.tags["img"] == 3
    assert [alt for alt in page.alts if alt.startswith("Step ")] == [f"Step {step}: {HOSTILE}" for step in (0, 5)]


def test_a_page_without_a_score_begins_with_what_is_missing() -> None:
    page = HtmlPage(page_html(Page("run", "lead", [], Missing("No score.", "vmc test"))))
    assert page.missing[""] == ["\nNo score.\nvmc test\n"]
    assert HtmlPage(page_html(Page("runs", "lead", []))).missing[""] == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(VmcError, match=r"^Jinja2 is not installed\.\n.*\.\[plots\]"):
        page_html(_page())


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotWriteError, match=r"file/report\.html"):
        write_page(tmp_path / "file" / "report.html", _page())


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG and no more")
    with pytest.raises(VmcError, match=r"picture\.png is damaged"):
        file_uri(path)
