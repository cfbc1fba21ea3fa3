"""On which line of a recipe a key stands, which `tomllib` does not tell."""

from __future__ import annotations

import re
from collections.abc import Mapping

# `("rounds", 1, "train-vae", "epochs")`: the option of a stage of the second round.
Place = tuple[str | int, ...]

_ROUNDS = "rounds"
_KEY = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_PATH = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_PATH})\s*\]")
_ASSIGNMENT = re.compile(rf"\s*({_PATH})\s*=")
_MULTILINE_QUOTES = ('"""', "'''")


def key_lines(text: str) -> dict[Place, int]:
    """The line of each table and key of a recipe, counted from 1; those written inline are left out."""
    found: dict[Place, int] = {}
    table: Place = ()
    rounds, open_quotes = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if open_quotes:
            open_quotes = "" if open_quotes in line else open_quotes
        elif header := _HEADER.match(line):
            keys = _keys(header[2])
            rounds += header[1] == "[[" and keys == (_ROUNDS,)
            table = (_ROUNDS, rounds - 1, *keys[1:]) if rounds and keys[0] == _ROUNDS else keys
            found.setdefault(table, number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault((*table, *_keys(assignment[1])), number)
            open_quotes = next((quotes for quotes in _MULTILINE_QUOTES if line.count(quotes) == 1), "")
    return found


def line_of(place: Place, lines: Mapping[Place, int]) -> int:
    """The line of a place, or that of what it is written in."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def _keys(path: str) -> Place:
    return tuple(key.strip("\"'") for key in re.findall(_KEY, path))
