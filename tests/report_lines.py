"""Lines of `metrics.jsonl` and records of `run.json`, as a search writes them."""

from __future__ import annotations

from typing import Any


def a_line(step: int, phase: int = 0, dream: bool = False, **validation: Any) -> dict[str, Any]:
    """A line of C's `metrics.jsonl`."""
    returns = {"worst": -10.0, "mean": float(step), "best": 20.0 + step}
    costs = {"seconds": 36.0 * step, "real_steps": 1000 * step, "dream_steps": 0}
    return {"step": step, "phase": phase, "dream": dream, **costs, **returns, **validation}


def in_reality(value: float, dreamed: float | None = None) -> dict[str, Any]:
    """A validation in the real environment, and maybe one in the dream beside it."""
    beside = {} if dreamed is None else {"dream_validation_return": dreamed}
    return {"validation_return": value, "validated_in": "real", **beside}


def a_record(number: int, kept: float) -> dict[str, Any]:
    """What `run.json` says of a round's search."""
    return {"round": number, "stage": "train-controller", "seconds": 1.0, "metrics": {"validation return": kept}}


def two_rounds() -> list[dict[str, Any]]:
    """In the dream, then in the real environment; the best of all is in the first round."""
    return [
        a_line(1, dream=True),
        a_line(2, dream=True, **in_reality(300, dreamed=90)),
        a_line(3, 1),
        a_line(4, 1, **in_reality(200)),
        a_line(5, 1, **in_reality(250)),
    ]
