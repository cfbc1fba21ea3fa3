"""JSON objects that carry a hash of themselves and of all objects before them in their file.

What was changed, removed or put elsewhere is told. It is no signature: who wants to forge a score can.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vmc.errors import VmcError
from vmc.storage.files import explained_os_errors, parse_json, read_file, replacing

Line = dict[str, Any]
_CHECK = "check"


def sealed(lines: Iterable[Mapping[str, Any]], last: str = "") -> list[Line]:
    """The objects, each with its hash.

    Args:
        last: the hash of the object before them.
    """
    found = []
    for line in lines:
        last = _check(last, line)
        found.append({**line, _CHECK: last})
    return found


def unsealed(lines: Iterable[Line], path: Path, way_out: str, without: bool = True) -> list[Line]:
    """The objects without their hashes, which are checked.

    Args:
        path, way_out: of the error.
        without: whether objects without any hash, as older versions wrote, are taken as they are; else there are none.

    Raises:
        VmcError: an object is not the one that was written.
    """
    lines, last = [dict(line) for line in lines], ""
    if not any(_CHECK in line for line in lines):
        return lines if without else []
    for number, line in enumerate(lines, start=1):
        found, last = line.pop(_CHECK, None), _check(last, line)
        if found != last:
            raise VmcError(f"{path}: entry {number} is not the one that was written.", way_out)
    return lines


class Journal:
    """Appends JSON objects to a file, a line each.

    Args:
        kept: the lines that it begins with; the file is replaced by them.

    Raises:
        CannotWriteError: the folder cannot be written, or the disk is full.
    """

    def __init__(self, path: Path, kept: Iterable[Mapping[str, Any]] = ()) -> None:
        self._path, self._last = path, ""
        with replacing(path) as partial:
            partial.write_text("".join(map(self._line, kept)), encoding="utf-8")

    def append(self, line: Mapping[str, Any]) -> None:
        """Adds a line. It has no NaN and no infinity."""
        with explained_os_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(self._line(line))

    def _line(self, line: Mapping[str, Any]) -> str:
        (written,) = sealed([line], self._last)
        self._last = written[_CHECK]
        return json.dumps(written, allow_nan=False) + "\n"


def read_journal(path: Path, way_out: str, without: bool = True) -> list[Line]:
    """The lines of a journal; none if there is no file. A last line that is cut short, by a kill, is ignored.

    Args:
        way_out: what helps where it is damaged.
        without: as in `unsealed`.

    Raises:
        VmcError: it cannot be read, or a line is not the one that was written.
    """
    if not path.exists():
        return []
    try:
        lines = read_file(path).decode().splitlines(keepends=True)
        found = [dict(parse_json(line)) for line in lines if line.endswith("\n")]
    except (OSError, ValueError, TypeError):
        raise VmcError(f"{path} is damaged.", way_out) from None
    return unsealed(found, path, way_out, without)


def _check(before: str, line: Mapping[str, Any]) -> str:
    text = before + json.dumps({name: value for name, value in line.items() if name != _CHECK}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
