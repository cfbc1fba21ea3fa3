from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import TOY, ToyRun

from vmc.errors import VmcError
from vmc.stages.film import FilmStep
from vmc.stages.filmstrip import film_strip, moments
from vmc.stages.panels import DREAM


def _steps(number: int) -> list[FilmStep]:
    return [FilmStep(step, 0.0, {}) for step in range(number)]


@pytest.mark.parametrize(
    ("length", "kept"),
    [
        (225, [0, 32, 64, 96, 128, 160, 192, 224]),
        (100, [0, 16, 32, 48, 64, 80, 96]),
        (8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (9, [0, 2, 4, 6, 8]),
        (1, [0]),
    ],
)
def test_moments_are_equally_distant(length: int, kept: list[int]) -> None:
    assert [step.step for step in moments(iter(_steps(length)), 8)] == kept


def test_a_strip_has_the_films_panels(toy: ToyRun) -> None:
    strip = film_strip(TOY, toy.run, seed=0)
    assert [moment.step for moment in strip] == sorted({moment.step for moment in strip})
    for moment in strip:
        assert len(moment.panels) == 3
        assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in moment.panels.values())


def test_lines_have_half_of_the_moments(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(*_: Any) -> Iterator[FilmStep]:
        yield from (FilmStep(step, 0.0, {DREAM: np.zeros((96, 96, 3), np.uint8)}) for step in range(8))

    monkeypatch.setattr("vmc.stages.filmstrip.film_steps", steps)
    assert [moment.step for moment in film_strip(TOY, toy.run, seed=0)] == [1, 3, 5, 7]


def test_a_run_without_weights_has_none(toy: ToyRun) -> None:
    for path in (toy.run / "controller").glob("best*"):
        path.unlink()
    with pytest.raises(VmcError, match="controller"):
        film_strip(TOY, toy.run, seed=0)
