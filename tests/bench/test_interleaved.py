from collections.abc import Callable

import pytest

import vmc.bench.interleaved
from vmc.bench.interleaved import Entry, Floor, compare


class _Clock:
    """Time that passes only when work is done."""

    def __init__(self) -> None:
        self.now = 0.0

    def work(self, units: int, *seconds: float) -> Callable[[], int]:
        rounds = iter(seconds)

        def run() -> int:
            self.now += next(rounds)
            return units

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(vmc.bench.interleaved.time, "perf_counter", lambda: clock.now)
    return clock


def test_rates_are_medians_and_ratios_are_taken_within_a_round(clock: _Clock) -> None:
    """The machine is four times slower in the second counted round: rates jump, the ratio does not."""
    entries = [
        Entry("slow", clock.work(10, 99.0, 1.0, 4.0, 2.0)),
        Entry("fast", clock.work(10, 99.0, 0.5, 2.0, 0.5)),
    ]
    slow, fast = compare("group", "steps", entries, rounds=3)
    assert (slow.rate, slow.lowest, slow.highest) == (5.0, 2.5, 10.0)
    assert slow.ratio is None
    assert slow.baseline is None
    assert (fast.rate, fast.lowest, fast.highest) == (20.0, 5.0, 20.0)
    assert fast.ratio == 2.0
    assert fast.baseline == "slow"


def test_the_share_of_the_floor_is_taken_within_a_round(clock: _Clock) -> None:
    gemm = iter([1e3, 100.0])  # operations/s
    entries = [
        Entry("work", clock.work(10, 9.0, 1.0, 10.0), floor_work=50.0),
        Entry("other", clock.work(10, 9.0, 1.0, 1.0)),
    ]
    work, other = compare("group", "steps", entries, rounds=2, floor=Floor("GEMM", lambda: next(gemm)))
    assert work.floor == "GEMM"
    assert work.floor_share == pytest.approx(0.5)  # 500 of 1000, and 50 of 100
    assert other.floor is None
    assert other.floor_share is None
