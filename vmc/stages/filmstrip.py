"""A few moments of a film, for a page that does not move."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from vmc.envs import make_env
from vmc.stages.film import FilmStep, film_steps
from vmc.stages.panels import DREAM

# Eight moments, 32 steps apart: 0, 32 ... 224.
_STEPS, _MOMENTS = 225, 8
_FRAME_WIDTH = 64


def film_strip(env: str, run: Path, seed: int) -> list[FilmStep]:
    """Moments of the first steps of the first test episode, at equal distances; at most `_MOMENTS`.

    Where V sees vectors, the panels are lines that show the steps before, too: half of the moments suffice.

    Raises:
        VmcError: the environment cannot be made; or as `film_steps`.
    """
    with closing(make_env(env, rendered=True)) as real:
        kept = moments(film_steps(real, env, run, _STEPS, seed))
    is_lines = kept[-1].panels[DREAM].shape[1] > _FRAME_WIDTH
    return kept[::-2][::-1] if is_lines else kept


def moments(steps: Iterable[FilmStep], most: int = _MOMENTS) -> list[FilmStep]:
    """Every step, or every second, fourth, ..., so that there are at most so many. Few are held at a time."""
    kept: list[FilmStep] = []
    distance = 1
    for number, step in enumerate(steps):
        if number % distance == 0:
            kept.append(step)
        if len(kept) > most:
            kept, distance = kept[::2], 2 * distance
    return kept
