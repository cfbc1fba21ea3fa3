import doctest
import json
from collections.abc import Callable

import numpy as np
import pytest

import vmc.control.cma_es
from vmc.control.cma_es import Search, SearchSettings
from vmc.errors import VmcError

SETTINGS = SearchSettings(population_size=8, step_size=0.3)
NUM_PARAMETERS = 12


def _fitness(candidates: np.ndarray, generation: int) -> list[float]:
    rotated = candidates + 0.1 * np.roll(candidates, 1, axis=1)
    return list(-np.square(rotated - 1).sum(axis=1) + 0.1 * np.sin(generation + candidates[:, 0]))


def _advance(search: Search, generations: int) -> list[np.ndarray]:
    asked = []
    for _ in range(generations):
        candidates = search.ask()
        search.tell(candidates, _fitness(candidates, search.generation))
        asked.append(candidates)
    return asked


def _through_json(search: Search) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    arrays, values = search.state()
    return {name: array.copy() for name, array in arrays.items()}, json.loads(json.dumps(values, allow_nan=False))


@pytest.mark.parametrize(
    ("num_parameters", "generations"),
    # pycma adapts the step size otherwise from 300 parameters on, as CarRacing's C has them.
    [*((NUM_PARAMETERS, generations) for generations in (0, 1, 2, 3, 10, 47)), (300, 0), (300, 1), (300, 7)],
)
def test_a_restored_search_goes_on_bit_for_bit(num_parameters: int, generations: int) -> None:
    search = Search(SETTINGS, num_parameters, seed=5)
    _advance(search, generations)
    arrays, values = _through_json(search)
    restored = Search(SETTINGS, num_parameters, seed=99)
    restored.restore(arrays, values)
    assert restored.step_size == search.step_size
    assert restored.generation == search.generation == generations
    np.testing.assert_array_equal(_advance(restored, 40), _advance(search, 40))


def test_restored_matrices_lie_in_memory_as_they_did() -> None:
    """Else a BLAS of several threads may round their products otherwise, as it did for 867 parameters."""
    search = Search(SETTINGS, 40, seed=5)
    _advance(search, 10)
    restored = Search(SETTINGS, 40, seed=5)
    restored.restore(*_through_json(search))
    (arrays, values), (again, _) = search.state(), restored.state()
    assert values["by_columns"]
    assert all(np.isfortran(again[key]) == np.isfortran(array) for key, array in arrays.items())


def test_fitness_is_maximised() -> None:
    """Fails if the sign of the fitness is flipped: the search would run away from the optimum at 1."""
    search = Search(SETTINGS, 3, seed=0)
    for _ in range(80):
        candidates = search.ask()
        search.tell(candidates, -np.square(candidates - 1).sum(axis=1))
    np.testing.assert_allclose(search.mean, 1, atol=1e-2)


def test_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].tolist()  # noqa: NPY002  (that is what is being watched)
    search = Search(SETTINGS, NUM_PARAMETERS, seed=0)
    _advance(search, 3)
    arrays, values = _through_json(search)
    Search(SETTINGS, NUM_PARAMETERS, seed=0).restore(arrays, values)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_seed_and_phase_name_the_stream() -> None:
    def first(seed: int, phase: int) -> np.ndarray:
        return Search(SETTINGS, NUM_PARAMETERS, seed, phase=phase).ask()

    np.testing.assert_array_equal(first(0, 0), first(0, 0))
    assert not np.array_equal(first(0, 0), first(1, 0))
    assert not np.array_equal(first(0, 0), first(0, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_fitness_that_is_not_finite_is_refused(bad: float) -> None:
    search = Search(SETTINGS, NUM_PARAMETERS, seed=0)
    candidates = search.ask()
    fitness = _fitness(candidates, 0)
    fitness[3] = bad
    with pytest.raises(VmcError, match="Candidate 3"):
        search.tell(candidates, fitness)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda values: values["attributes"].update({"opts": "__import__('os').getcwd()"}),
        lambda values: values["attributes"].update({"sm.randn": {"a": 1}}),
        lambda values: values["attributes"].update({"opts.maxiter": 1}),
        lambda values: values["attributes"].update({"logger.modulo": 1}),
    ],
)
def test_a_stored_search_can_bring_numbers_only(spoil: Callable[[dict[str, dict[str, object]]], None]) -> None:
    search = Search(SETTINGS, NUM_PARAMETERS, seed=0)
    arrays, values = _through_json(search)
    spoil(values)  # type: ignore[arg-type]
    with pytest.raises(VmcError, match="stored search"):
        Search(SETTINGS, NUM_PARAMETERS, seed=0).restore(arrays, values)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays: arrays.update({"sm.C": arrays["sm.C"].astype(np.int64)}),
        lambda arrays: arrays.update({"pc": arrays["pc"][:-1]}),
        lambda arrays: arrays.update({"pc": arrays["pc"] * np.inf}),
        lambda arrays: arrays.update({"fit.hist": np.arange(3)}),
    ],
)
def test_arrays_of_another_form_are_refused(spoil: Callable[[dict[str, np.ndarray]], None]) -> None:
    search = Search(SETTINGS, NUM_PARAMETERS, seed=0)
    _advance(search, 2)
    arrays, values = _through_json(search)
    spoil(arrays)
    with np.errstate(invalid="ignore"), pytest.raises(VmcError, match="another form"):
        Search(SETTINGS, NUM_PARAMETERS, seed=0).restore(arrays, values)


def test_a_diagonal_search_learns_many_parameters_and_goes_on_to_the_bit() -> None:
    """A full search of 3,000 parameters would need as many numbers squared."""
    settings = SearchSettings(population_size=12, step_size=0.3, covariance="diagonal")
    search = Search(settings, 3000, seed=1)
    _advance(search, 4)
    arrays, values = _through_json(search)
    assert max(array.size for array in arrays.values()) < 3000 * 40
    resumed = Search(settings, 3000, seed=9)
    resumed.restore(arrays, values)
    for each in (search, resumed):
        _advance(each, 3)
    np.testing.assert_array_equal(search.mean, resumed.mean)
    assert not np.array_equal(search.mean, np.zeros(3000))


def test_a_full_search_that_takes_all_memory_is_refused_before_it_begins() -> None:
    with pytest.raises(VmcError, match=r"289,000 parameters: .* 3,7\d\d GiB(.|\n)*--covariance diagonal"):
        Search(SETTINGS, 289_000, seed=0)


def test_the_mean_moves_by_a_share_of_the_way() -> None:
    moved = {}
    for share in (1.0, 0.25):
        search = Search(SearchSettings(8, 0.3, mean_learning_rate=share), NUM_PARAMETERS, seed=0)
        candidates = search.ask()
        search.tell(candidates, candidates.sum(axis=1))
        moved[share] = search.mean
    np.testing.assert_allclose(moved[0.25], 0.25 * moved[1.0])


def test_a_search_of_another_size_is_refused() -> None:
    arrays, values = _through_json(Search(SETTINGS, 5, seed=0))
    with pytest.raises(VmcError, match="5 parameters"):
        Search(SETTINGS, 6, seed=0).restore(arrays, values)


@pytest.mark.parametrize(
    "values", [{"population_size": 3}, {"step_size": 0.0}, {"mean_learning_rate": 0.0}, {"covariance": "round"}]
)
def test_settings_out_of_bounds_are_refused(values: dict[str, float | str]) -> None:
    with pytest.raises(VmcError):
        SearchSettings(**values)  # type: ignore[arg-type]


def test_the_docstrings_example_runs() -> None:
    result = doctest.testmod(vmc.control.cma_es, extraglobs={"np": np})
    assert result.attempted > 0
    assert result.failed == 0
