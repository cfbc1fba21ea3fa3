"""The loop around a trainer, with a trainer that is not CMA-ES: what all trainers share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmc.control.fitness import Scores
from vmc.control.loop import LoopSettings, SearchLoop, SearchState, means_folder
from vmc.control.trainer import Array, Arrays, Generation
from vmc.errors import VmcError
from vmc.models.controller import LinearSettings
from vmc.seeding import env_seed
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.metrics import read_metrics

SHAPE = LinearSettings("z", 2, 1)
SETTINGS = LoopSettings(
    dream=False,
    init="best",
    generations=6,
    target_return=None,
    validate_every=2,
    validate_in="real",
    validation_episodes=3,
    final_candidates=0,
    final_episodes=1,
    seed=4,
)
# The validation return of generation n's parameters, which are all n.
RETURNS = [0.0, 9.0, 5.0, 1.0, 7.0, 2.0, 6.0, 3.0, 8.0]


class _Counter:
    """A `Trainer` whose parameters are its generation's number, and whose state has a part beside them."""

    def __init__(self, mean: Array | None, phase: int) -> None:
        self.mean, self.phase = mean, phase
        self._value = 0.0 if mean is None else float(mean[0])

    @property
    def parameters(self) -> Array:
        return np.full(SHAPE.num_parameters, self._value)

    @property
    def episodes_per_generation(self) -> int:
        return 10

    def train(self, generation: int, on_episodes: Callable[[int], None]) -> Generation:
        self._value += 1
        assert self._value == generation
        on_episodes(10)
        return Generation({"best": 1.0, "mean": 0.5, "own": -self._value}, num_steps=100)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        return {"value": np.array([self._value])}, {"half": self._value / 2}

    def restore(self, arrays: Arrays, values: Mapping[str, Any]) -> None:
        self._value = float(arrays["value"][0])
        assert values["half"] == self._value / 2


class _Table:
    """A `Fitness`: the return that stands in the table, in episodes of 7 steps."""

    def __init__(self) -> None:
        self.seeds: list[list[int]] = []

    def evaluate(
        self, candidates: Array, seeds: Sequence[int], on_episodes: Callable[[int], None] | None = None
    ) -> Scores:
        self.seeds.append(list(seeds))
        returns = np.full((1, len(seeds)), RETURNS[int(candidates[0, 0])])
        return Scores(returns, np.full((1, len(seeds)), 7), returns)


@dataclass(frozen=True)
class _Stage:
    generations: int
    seed: int


@dataclass(frozen=True)
class _Younger(_Stage):
    """A later version, which has a setting more."""

    later: int = 3


def _run(
    folder: Path, inputs: Mapping[str, Any] = {}, stage: Callable[[int, int], _Stage] = _Stage, **values: Any
) -> tuple[SearchState, _Table, list[_Counter]]:
    trainers: list[_Counter] = []

    def make(mean: Array | None, phase: int) -> _Counter:
        trainers.append(_Counter(mean, phase))
        return trainers[-1]

    settings, table = replace(SETTINGS, **values), _Table()
    made = stage(settings.generations, settings.seed)
    loop = SearchLoop(settings, made, folder, SHAPE, dict(inputs), {"dream": {}}, make, table)
    return loop.run(), table, trainers


def _best(folder: Path) -> tuple[int, float, float]:
    best = load_checkpoint(folder, "best", "")
    return best.info["generation"], best.info["validation_return"], best.weights["parameters"][0]


def test_the_best_of_the_validated_generations_is_kept(tmp_path: Path) -> None:
    """Generation 1 would be better, but is not validated; the last one is, whatever its number."""
    state, table, _ = _run(tmp_path, generations=5)
    assert _best(tmp_path) == (4, 7.0, 4.0)
    assert (state.best_generation, state.best_return, state.finished) == (4, 7.0, True)
    lines = read_metrics(tmp_path)
    assert {line["step"]: line.get("validation_return") for line in lines} == {1: None, 2: 5, 3: None, 4: 7, 5: 2}
    assert [line["own"] for line in lines] == [-1, -2, -3, -4, -5]
    names = sorted(path.stem for path in means_folder(tmp_path).glob("*.json"))
    assert names == ["000000", "000002", "000004", "000005"]
    expected = [env_seed(4, "validation", episode) for episode in range(3)]
    assert table.seeds == [expected] * 4  # the same episodes for all


def test_steps_are_counted_where_they_are_taken(tmp_path: Path) -> None:
    assert _run(tmp_path / "real", generations=2)[0].num_steps == {"real": 2 * 100 + 2 * 3 * 7, "dream": 0}
    state, _, _ = _run(tmp_path / "dream", generations=2, dream=True)
    assert state.num_steps == {"real": 2 * 3 * 7, "dream": 200}
    state, _, _ = _run(tmp_path / "both", generations=2, dream=True, validate_in="dream")
    assert state.num_steps == {"real": 0, "dream": 200 + 2 * 3 * 7}


def test_a_search_goes_on_from_the_trainers_state(tmp_path: Path) -> None:
    _run(tmp_path, generations=4)
    state, table, (trainer,) = _run(tmp_path, generations=6)
    assert (state.generation, trainer.parameters[0]) == (6, 6.0)
    assert len(table.seeds) == 1  # generation 6 alone
    _, table, (trainer,) = _run(tmp_path, generations=6)
    assert table.seeds == []  # nothing was left to do


def test_the_target_ends_the_search(tmp_path: Path) -> None:
    assert _run(tmp_path, target_return=5.0)[0].generation == 2
    assert _run(tmp_path, target_return=6.5)[0].generation == 4  # another target may be given


@pytest.mark.parametrize("init", ["best", "scratch"])
def test_other_inputs_begin_a_phase_at_the_best_or_from_scratch(init: str, tmp_path: Path) -> None:
    _run(tmp_path, {"dynamics": "a"}, generations=2)
    arguments = {"generations": 2, "init": init, "target_return": -1.0}  # the validation of the best alone
    state, table, (trainer,) = _run(tmp_path, {"dynamics": "b"}, **arguments)
    assert (trainer.phase, state.phase, state.phase_start) == (1, 1, 2)
    if init == "best":
        np.testing.assert_array_equal(trainer.mean, np.full(SHAPE.num_parameters, 2.0))
    else:
        assert trainer.mean is None
    # The best C so far is validated first, with the new V and M, and is kept.
    assert len(table.seeds) == 1
    assert _best(tmp_path) == (2, 5.0, 2.0)
    assert load_checkpoint(tmp_path, "best", "").info["dynamics"] == "b"


def test_a_phase_keeps_counting_generations_and_steps(tmp_path: Path) -> None:
    before, _, _ = _run(tmp_path, {"dynamics": "a"}, generations=2)
    after, _, _ = _run(tmp_path, {"dynamics": "b"}, generations=2)
    assert (after.generation, after.phase_start) == (4, 2)
    assert after.num_steps["real"] == 2 * before.num_steps["real"]
    assert [(line["step"], line["phase"]) for line in read_metrics(tmp_path)] == [(1, 0), (2, 0), (3, 1), (4, 1)]


def test_a_setting_that_is_younger_than_the_search_had_its_default(tmp_path: Path) -> None:
    _run(tmp_path, generations=2)
    state, _, _ = _run(tmp_path, generations=3, stage=_Younger)
    assert state.generation == 3
    with pytest.raises(VmcError, match="was trained with later = 3; now it is 4"):
        _run(tmp_path, generations=4, stage=partial(_Younger, later=4))
