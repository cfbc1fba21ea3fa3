"""Interleaved measurement. On a shared machine only ratios within one round are reliable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median


@dataclass(frozen=True)
class Entry:
    """One piece of code to measure.

    Attributes:
        name: the name of the row.
        work: does the work of one round and returns the number of units.
        floor_work: the least operations or bytes that a unit needs, for the share of the floor's rate.
    """

    name: str
    work: Callable[[], int]
    floor_work: float | None = None


@dataclass(frozen=True)
class Floor:
    """A limit of the machine.

    Attributes:
        name: `GEMM`, which counts multiplications and additions, or `copy`, which counts copied bytes.
        rate: measures the limit in operations or bytes per second.
    """

    name: str
    rate: Callable[[], float]


@dataclass(frozen=True)
class Result:
    """A row of the table.

    Attributes:
        rate: units/s, the median of the rounds; `lowest` and `highest` are their spread.
        ratio: the median of the rounds' ratios to the baseline; None for the baseline itself.
        floor: the name of the floor, measured in the same rounds; None if the entry has no `floor_work`.
        floor_share: the median of the rounds' shares of the floor's rate.
    """

    group: str
    name: str
    unit: str
    rate: float
    lowest: float
    highest: float
    baseline: str | None = None
    ratio: float | None = None
    floor: str | None = None
    floor_share: float | None = None


def compare(group: str, unit: str, entries: Sequence[Entry], rounds: int, floor: Floor | None = None) -> list[Result]:
    """Measures the entries in turn, `rounds` times, after a warm-up round. The first entry is the baseline.

    Args:
        floor: a limit that is measured in every round, or None.
    """
    rates: list[list[float]] = [[] for _ in entries]
    floor_rates: list[float] = []
    for counted in [False, *[True] * rounds]:
        measured = [_rate(entry.work) for entry in entries]
        if counted:
            for column, rate in zip(rates, measured, strict=True):
                column.append(rate)
            if floor is not None:
                floor_rates.append(floor.rate())
    results = []
    for entry, own in zip(entries, rates, strict=True):
        result = Result(group, entry.name, unit, median(own), min(own), max(own))
        if entry is not entries[0]:
            ratio = median(r / b for r, b in zip(own, rates[0], strict=True))
            result = replace(result, baseline=entries[0].name, ratio=ratio)
        if floor is not None and entry.floor_work is not None:
            share = median(r * entry.floor_work / f for r, f in zip(own, floor_rates, strict=True))
            result = replace(result, floor=floor.name, floor_share=share)
        results.append(result)
    return results


def _rate(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    units = work()
    return units / (time.perf_counter() - started)
