"""Journals: a line that is not the one that was written is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vmc.errors import VmcError
from vmc.storage.journal import Journal, read_journal, sealed, unsealed

LINES = [{"step": 1, "loss": 0.1}, {"step": 2, "loss": None}, {"step": 3, "loss": 1e-300}]


def _write(path: Path) -> list[str]:
    journal = Journal(path, LINES[:1])
    for line in LINES[1:]:
        journal.append(line)
    return path.read_text().splitlines(keepends=True)


def test_it_reads_what_was_written(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl")
    assert read_journal(tmp_path / "a.jsonl", "") == LINES
    assert read_journal(tmp_path / "none.jsonl", "") == []


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    _write(tmp_path / "whole")
    Journal(tmp_path / "parts", LINES[:2])
    Journal(tmp_path / "parts", read_journal(tmp_path / "parts", "")).append(LINES[2])
    assert (tmp_path / "parts").read_text() == (tmp_path / "whole").read_text()


@pytest.mark.parametrize("change", ["edit", "remove", "swap", "insert", "unseal"])
def test_another_line_is_told(change: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = _write(path)
    changed = {
        "edit": [lines[0], lines[1].replace("2", "7", 1), lines[2]],
        "remove": [lines[0], lines[2]],
        "swap": [lines[1], lines[0], lines[2]],
        "insert": [lines[0], lines[0], *lines[1:]],
        "unseal": [lines[0], json.dumps(LINES[1]) + "\n", lines[2]],
    }[change]
    path.write_text("".join(changed))
    with pytest.raises(VmcError, match=r"entry \d is not the one that was written\.\n  Do this"):
        read_journal(path, "Do this.")


def test_a_last_line_that_is_cut_short_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    _write(path)
    path.write_text(path.read_text()[:-5])
    assert read_journal(path, "") == LINES[:2]


def test_a_file_without_hashes_is_taken_or_not(tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    assert read_journal(path, "") == LINES
    assert read_journal(path, "", without=False) == []


@pytest.mark.parametrize("content", [b"[1]\n", b"{\n", b"\xff\n", b'{"a": NaN}\n'])
def test_what_is_no_journal_is_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(VmcError, match=r"a.jsonl is damaged"):
        read_journal(tmp_path / "a.jsonl", "")


def test_an_object_of_another_file_is_told() -> None:
    ours, theirs = sealed(LINES), sealed([{"step": 0}, *LINES])
    assert unsealed(ours, Path("x"), "") == LINES
    with pytest.raises(VmcError, match=r"x: entry 2"):
        unsealed([ours[0], theirs[2], ours[2]], Path("x"), "")
