from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ToyRun, toy_settings

from vmc.errors import VmcError
from vmc.models.checkpoints import dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.stages import evaluate
from vmc.stages import train_controller as stage
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.metrics import read_metrics


class _Killed(BaseException):
    """Stands for kill -9: nothing in the program may catch it."""


def _train(toy: ToyRun, run: Path, **values: Any) -> stage.SearchState:
    values = {"generations": 4, **values}
    return stage.train_controller(toy_settings("train-controller", **values), toy.data, run, "cpu", 0)


def _without_controller(toy: ToyRun) -> Path:
    import shutil

    shutil.rmtree(toy.run / "controller")
    return toy.run


def _state(run: Path) -> dict[str, np.ndarray]:
    checkpoint = load_checkpoint(run / "controller", "latest", "")
    return {**checkpoint.state, **checkpoint.weights}


@pytest.mark.parametrize("dream", [False, True])
@pytest.mark.parametrize("saves", [1, 3])
def test_a_killed_search_ends_where_the_whole_one_did(
    dream: bool, saves: int, toy: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    run = _without_controller(toy)
    shutil.copytree(run, tmp_path / "whole")
    _train(toy, tmp_path / "whole", dream=dream)
    saved: list[int] = []
    save = stage._Evolution._save

    def save_and_die(self: Any) -> None:
        save(self)
        saved.append(1)
        if len(saved) == saves:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(stage._Evolution, "_save", save_and_die)
        with pytest.raises(_Killed):
            _train(toy, run, dream=dream)
    _train(toy, run, dream=dream)
    expected, found = _state(tmp_path / "whole"), _state(run)
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[key], found[key]) for key in expected)
    best = [load_checkpoint(folder / "controller", "best", "").sha256 for folder in (run, tmp_path / "whole")]
    assert best[0] == best[1]


def test_the_best_is_kept_by_the_held_out_episodes(toy: ToyRun) -> None:
    run = _without_controller(toy)
    counters = _train(toy, run)
    lines = read_metrics(run / "controller")
    validation = [line["validation"] for line in lines]
    best = load_checkpoint(run / "controller", "best", "")
    assert counters.best_return == best.info["validation_return"] >= max(validation)
    if counters.best_generation:
        assert validation[counters.best_generation - 1] == counters.best_return


def test_weight_decay_keeps_the_parameters_small(toy: ToyRun) -> None:
    run = _without_controller(toy)
    sizes = []
    for weight_decay in (0.0, 1e4):
        _train(toy, run, generations=20, step_size=0.5, weight_decay=weight_decay)
        sizes.append(np.square(load_checkpoint(run / "controller", "latest", "").weights["parameters"]).mean())
        _without_controller(toy)
    assert sizes[1] < 0.5 * sizes[0]


def test_a_search_maximises_what_counts_not_what_is_returned(toy: ToyRun) -> None:
    """Under a cap the first generations are ranked otherwise; one that nothing reaches changes nothing."""
    run = _without_controller(toy)
    means, firsts = [], []
    cap = None
    for _ in range(3):
        _train(toy, run, generations=4, dream=True, reward_soft_cap=cap)
        means.append(load_checkpoint(run / "controller", "latest", "").weights["parameters"])
        first = read_metrics(run / "controller")[0]
        firsts.append(first["mean"])
        cap = 1e6 if cap is None else first["mean"] / first["mean_length"]
        _without_controller(toy)
    assert firsts[0] == firsts[1] == firsts[2]  # the returns are the true ones
    np.testing.assert_array_equal(means[0], means[1])
    assert (means[0] != means[2]).any()


def test_a_search_in_the_dream_keeps_what_is_best_in_reality(toy: ToyRun) -> None:
    run = _without_controller(toy)
    counters = _train(toy, run, dream=True, real_every=2, validate_every=1, generations=5)
    lines = read_metrics(run / "controller")
    real = {line["step"]: line["real"] for line in lines if "real" in line}
    assert set(real) == {2, 4, 5}  # and the last
    best = load_checkpoint(run / "controller", "best", "").info
    assert best["validation_return"] >= max(real.values())  # generation 0 was looked at too, before the log began
    if best["generation"]:
        assert real[best["generation"]] == best["validation_return"]
    episodes = 4 * toy_settings("train-controller").validation_episodes
    assert counters.steps["real"] <= 40 * episodes  # the toy's limit
    assert counters.steps["real"] > 0
    mean = load_checkpoint(run / "controller" / "means", f"{best['generation']:06d}", "")
    np.testing.assert_array_equal(
        mean.weights["parameters"], load_checkpoint(run / "controller", "best", "").weights["parameters"]
    )


def test_candidates_of_a_generation_meet_the_same_episodes_and_generations_differ(
    toy: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _without_controller(toy)
    seen: list[list[int]] = []
    evaluate = stage.RealFitness.evaluate

    def spy(self: Any, candidates: Any, seeds: Any, *rest: Any) -> Any:
        if len(candidates) > 1:
            seen.append(list(seeds))
        return evaluate(self, candidates, seeds, *rest)

    monkeypatch.setattr(stage.RealFitness, "evaluate", spy)
    _train(toy, run, generations=3)
    assert len({seed for seeds in seen for seed in seeds}) == 3 * 2


def test_held_out_episodes_are_not_cut_off(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[bool, set[Any]] = {True: set(), False: set()}
    evaluate = stage.RealFitness.evaluate

    def spy(self: Any, candidates: Any, *rest: Any) -> Any:
        limits[len(candidates) > 1].add((self._limits.max_steps, self._limits.no_reward_limit))
        return evaluate(self, candidates, *rest)

    monkeypatch.setattr(stage.RealFitness, "evaluate", spy)
    _train(toy, _without_controller(toy), generations=1, no_reward_limit=7, max_steps=30)
    assert limits == {True: {(30, 7)}, False: {(30, None)}}


def test_target_return_stops_the_search(toy: ToyRun) -> None:
    assert _train(toy, _without_controller(toy), target_return=-1000.0).generation == 0


def test_more_generations_go_on(toy: ToyRun) -> None:
    run = _without_controller(toy)
    _train(toy, run, generations=2)
    assert _train(toy, run, generations=4).generation == 4
    assert [line["step"] for line in read_metrics(run / "controller")] == [1, 2, 3, 4]


def test_other_settings_are_refused_by_name(toy: ToyRun) -> None:
    with pytest.raises(VmcError, match="population = 6; now it is 9"):
        _train(toy, toy.run, population_size=9)


def test_from_the_dream_to_reality_is_a_new_phase_from_the_best(toy: ToyRun) -> None:
    run = _without_controller(toy)
    _train(toy, run, dream=True, generations=2)
    dreamed = load_checkpoint(run / "controller", "best", "").weights["parameters"]
    counters = _train(toy, run, dream=False, generations=1, population_size=9, target_return=-1000.0)
    assert (counters.phase, counters.generation) == (1, 2)
    np.testing.assert_array_equal(load_checkpoint(run / "controller", "best", "").weights["parameters"], dreamed)
    assert counters.steps["dream"] > 0
    assert counters.steps["real"] > 0


def test_a_phase_that_searches_anew_begins_with_nothing_and_keeps_the_best(
    toy: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _without_controller(toy)
    _train(toy, run, dream=True, generations=2)
    best = load_checkpoint(run / "controller", "best", "").weights["parameters"]
    scored: list[Any] = []
    evaluate_real = stage.RealFitness.evaluate

    def spy(self: Any, candidates: Any, *rest: Any) -> Any:
        scored.append(candidates)
        return evaluate_real(self, candidates, *rest)

    monkeypatch.setattr(stage.RealFitness, "evaluate", spy)
    counters = _train(toy, run, init="scratch", generations=1, step_size=1e-9)
    validation, candidates = scored[0], scored[1]
    np.testing.assert_array_equal(validation, best[None])  # the one to beat, under the new circumstances
    assert np.abs(candidates).max() < 1e-6
    kept = load_checkpoint(run / "controller", "best", "").weights["parameters"]
    assert np.array_equal(kept, best) == (counters.best_generation == 2)
    assert (counters.phase, counters.generation) == (1, 3)


def test_a_search_from_nothing_may_be_followed_by_one_from_its_best(toy: ToyRun) -> None:
    """In the same V and M, with other settings; it can be stopped and resumed, and is another one than with `anew`."""
    run = _without_controller(toy)
    _train(toy, run, dream=True, init="scratch", generations=2)
    best = load_checkpoint(run / "controller", "best", "").weights["parameters"]
    counters = _train(toy, run, dream=True, generations=1, population_size=9, step_size=1e-9)
    assert (counters.phase, counters.generation) == (1, 3)
    mean = load_checkpoint(run / "controller", "latest", "").weights["parameters"]
    np.testing.assert_allclose(mean, best, atol=1e-7)
    counters = _train(toy, run, dream=True, generations=2, population_size=9, step_size=1e-9)
    assert (counters.phase, counters.generation) == (1, 4)


def test_the_toys_optimum_is_neared(toy: ToyRun) -> None:
    """The sign of the fitness: a search that minimised the return would end below where it began.

    The constant action 0 earns about 27 of 40 (1 - target^2 a step); 12 generations must gain on the controller of
    zeros, whatever the validation episodes.
    """
    run = _without_controller(toy)
    values = {"generations": 12, "population_size": 10, "validate_every": 12}
    counters = _train(toy, run, **values, validation_episodes=8)
    means = [line["mean"] for line in read_metrics(run / "controller")]
    assert counters.best_generation == 12
    assert np.mean(means[-3:]) > np.mean(means[:2])


@pytest.mark.parametrize(("inputs", "hidden_units", "dream"), [("z", 3, False), ("zch", 0, True)])
def test_other_shapes_of_c_are_searched_stored_and_driven(
    inputs: str, hidden_units: int, dream: bool, toy: ToyRun
) -> None:
    run = _without_controller(toy)
    _train(toy, run, inputs=inputs, hidden_units=hidden_units, dream=dream, generations=2)
    settings, parameters, _ = load_controller(run, vae_checkpoint(run), dynamics_checkpoint(run, vae_checkpoint(run)))
    assert (settings.inputs, settings.hidden_units) == (inputs, hidden_units)
    assert len(parameters) == settings.num_parameters
    result = evaluate.evaluate_controller(toy_settings("test", episodes=2), toy.data, run, "cpu", 0)
    assert len(result["episodes"]) == 2
