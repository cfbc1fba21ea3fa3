"""Interleaved measurement: on a shared machine only ratios within one round can be trusted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Entry:
    """Something to measure.

    Attributes:
        name: what it is.
        work: does one round's work and returns how many units that was.
        floating_operations: multiplications and additions a unit, for the share of the measured GEMM rate.
    """

    name: str
    work: Callable[[], int]
    floating_operations: float | None = None


@dataclass(frozen=True)
class Result:
    """A row of the table.

    Attributes:
        rate: units/s, the median of the rounds; `lowest` and `highest` are their spread.
        ratio: to the baseline, the median of the rounds' ratios; None for the baseline itself.
        gemm_share: of the GEMM rate that was measured in the same rounds, where the operations are known.
    """

    group: str
    name: str
    unit: str
    rate: float
    lowest: float
    highest: float
    baseline: str | None = None
    ratio: float | None = None
    gemm_share: float | None = None


def compare(
    group: str, unit: str, entries: Sequence[Entry], rounds: int, gemm: Callable[[], float] | None = None
) -> list[Result]:
    """Measures the entries in turn, `rounds` times, after one round that is not counted; the first is the baseline.

    Args:
        gemm: measures the machine's GEMM rate (operations/s); called in every round when given.
    """
    rates: list[list[float]] = [[] for _ in entries]
    gemm_rates: list[float] = []
    for counted in [False, *[True] * rounds]:
        measured = [_rate(entry.work) for entry in entries]
        if counted:
            for column, rate in zip(rates, measured, strict=True):
                column.append(rate)
            gemm_rates.append(gemm() if gemm else 0.0)
    return [_result(group, unit, entries, number, rates, gemm_rates) for number in range(len(entries))]


def _rate(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    units = work()
    return units / (time.perf_counter() - started)


def _result(
    group: str,
    unit: str,
    entries: Sequence[Entry],
    number: int,
    rates: list[list[float]],
    gemm_rates: list[float],
) -> Result:
    entry, own = entries[number], rates[number]
    ratio = median(r / b for r, b in zip(own, rates[0], strict=True)) if number else None
    share = None
    if entry.floating_operations is not None and all(gemm_rates):
        share = median(r * entry.floating_operations / g for r, g in zip(own, gemm_rates, strict=True))
    baseline = entries[0].name if number else None
    return Result(group, entry.name, unit, median(own), min(own), max(own), baseline, ratio, share)
