import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ToyRun, toy_settings

from vmc.control.dream_fitness import DreamFitness
from vmc.control.loop import SearchLoop, SearchState, means_folder
from vmc.dream.starts import DreamStarts
from vmc.errors import VmcError
from vmc.models.checkpoints import dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.stages import evaluate
from vmc.stages import train_controller as stage
from vmc.stages.collect import collect
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.metrics import read_metrics


class _Killed(BaseException):
    """Stands for kill -9: nothing in the program may catch it."""


def _train(toy: ToyRun, run: Path, **values: Any) -> SearchState:
    values = {"generations": 4, **values}
    return stage.train_controller(toy_settings("train-controller", **values), toy.data, run, "cpu", 0)


def _without_controller(toy: ToyRun) -> Path:
    shutil.rmtree(toy.run / "controller")
    return toy.run


def _state(run: Path) -> dict[str, np.ndarray]:
    checkpoint = load_checkpoint(run / "controller", "latest", "")
    return {**checkpoint.state, **checkpoint.weights}


_ACTOR_CRITIC = {"dream": True, "trainer": "actor-critic", "updates": 3, "imagined_dreams": 16}
_PPO = {"trainer": "ppo", "rollouts": 6, "noise_generations": 3}


@pytest.mark.parametrize(
    "values",
    [
        {"dream": False},
        {"dream": True},
        {"replayed_episodes": 1, "screened_episodes": 3},
        _ACTOR_CRITIC,
        _PPO,
        {**_PPO, "dream": True},
    ],
    ids=["real", "dream", "replay", "actor-critic", "ppo", "ppo in the dream"],
)
@pytest.mark.parametrize("saves", [1, 3])
def test_a_killed_search_ends_where_the_whole_one_did(
    values: dict[str, Any], saves: int, toy: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _without_controller(toy)
    shutil.copytree(run, tmp_path / "whole")
    _train(toy, tmp_path / "whole", **values)
    saved: list[int] = []
    save = SearchLoop._save

    def save_and_die(self: Any) -> None:
        save(self)
        saved.append(1)
        if len(saved) == saves:
            raise _Killed

    with monkeypatch.context() as patch:
        patch.setattr(SearchLoop, "_save", save_and_die)
        with pytest.raises(_Killed):
            _train(toy, run, **values)
    _train(toy, run, **values)
    expected, found = _state(tmp_path / "whole"), _state(run)
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[key], found[key]) for key in expected)
    best = [load_checkpoint(folder / "controller", "best", "").sha256 for folder in (run, tmp_path / "whole")]
    assert best[0] == best[1]


@pytest.mark.parametrize("values", [_ACTOR_CRITIC, _PPO], ids=["actor-critic", "ppo"])
def test_a_c_without_candidates_drives_for_the_next_data(values: dict[str, Any], toy: ToyRun, tmp_path: Path) -> None:
    """The best and the latest C take turns."""
    _train(toy, _without_controller(toy), **values)
    collected = collect(
        toy_settings("rollouts", episodes=4, policy="controller", action_noise=0.3), tmp_path / "new", toy.run, 0
    )
    assert collected.added_episodes == 4


def test_an_actor_critic_in_reality_is_refused(toy: ToyRun) -> None:
    with pytest.raises(VmcError, match=r"learns in the dream alone.\n.*--dream"):
        _train(toy, _without_controller(toy), trainer="actor-critic")
    assert not (toy.run / "controller").exists()


@pytest.mark.parametrize("dream", [False, True])
def test_the_best_is_kept_by_the_validation_episodes(dream: bool, toy: ToyRun) -> None:
    run = _without_controller(toy)
    state = _train(toy, run, dream=dream)
    lines = read_metrics(run / "controller")
    assert {line["validated_in"] for line in lines} == {"real"}
    validation = [line["validation_return"] for line in lines]
    best = load_checkpoint(run / "controller", "best", "")
    assert state.best_return == best.info["validation_return"] >= max(validation)
    assert state.best_generation == best.info["generation"]
    if state.best_generation:
        assert validation[state.best_generation - 1] == state.best_return


def test_weight_decay_keeps_the_parameters_small(toy: ToyRun) -> None:
    run = _without_controller(toy)
    sizes = []
    for weight_decay in (0.0, 1e4):
        _train(toy, run, generations=20, step_size=0.5, weight_decay=weight_decay)
        sizes.append(np.square(load_checkpoint(run / "controller", "latest", "").weights["parameters"]).mean())
        _without_controller(toy)
    assert sizes[1] < 0.5 * sizes[0]


def test_a_search_maximises_the_shaped_return_and_logs_the_return(toy: ToyRun) -> None:
    """A soft cap ranks the first generations otherwise; one that nothing reaches changes nothing."""
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
    assert firsts[0] == firsts[1] == firsts[2]  # the logged returns are the true ones
    np.testing.assert_array_equal(means[0], means[1])
    assert (means[0] != means[2]).any()


def test_a_search_in_the_dream_keeps_what_is_best_in_reality(toy: ToyRun) -> None:
    run = _without_controller(toy)
    state = _train(toy, run, dream=True, validate_every=2, generations=5)
    lines = read_metrics(run / "controller")
    real = {line["step"]: line["validation_return"] for line in lines if "validation_return" in line}
    assert set(real) == {2, 4, 5}  # and the last
    assert all(("validated_in" in line) == (line["step"] in real) for line in lines)
    best = load_checkpoint(run / "controller", "best", "").info
    assert best["validation_return"] >= max(real.values())  # generation 0 was validated too, before the log began
    if best["generation"]:
        assert real[best["generation"]] == best["validation_return"]
    episodes = 4 * toy_settings("train-controller").validation_episodes
    assert 0 < state.num_steps["real"] <= 40 * episodes  # the toy's limit
    assert state.num_steps["dream"] == sum(line["mean_length"] * 6 * 2 for line in lines)
    mean = load_checkpoint(means_folder(run / "controller"), f"{best['generation']:06d}", "")
    np.testing.assert_array_equal(
        mean.weights["parameters"], load_checkpoint(run / "controller", "best", "").weights["parameters"]
    )


def test_a_search_may_be_validated_in_the_dream_alone(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """No step of the real environment is taken; the validation episodes are not those of the fitness."""
    starts: list[DreamStarts] = []
    evaluate_dream = DreamFitness.evaluate

    def spy(self: Any, candidates: Any, *rest: Any) -> Any:
        starts.append(self._starts())
        return evaluate_dream(self, candidates, *rest)

    monkeypatch.setattr(DreamFitness, "evaluate", spy)
    run = _without_controller(toy)
    state = _train(toy, run, dream=True, validate_in="dream")
    lines = read_metrics(run / "controller")
    assert {line["validated_in"] for line in lines} == {"dream"}
    assert state.best_return is not None
    assert state.best_return >= max(line["validation_return"] for line in lines)
    assert state.num_steps["real"] == 0
    validation = starts[0::2]  # before the first generation, and after each
    assert len(starts) == 9
    assert all(each is starts[0] for each in validation)
    assert not any(each is starts[0] for each in starts[1::2])


@pytest.mark.parametrize("killed", [False, True])
def test_the_best_means_of_a_search_are_compared_on_fresh_episodes(
    killed: bool, toy: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the choice and the search's own checkpoint changes nothing."""
    run = _without_controller(toy)
    met: list[list[int]] = []
    evaluate, save = stage.RealFitness.evaluate, SearchLoop._save

    def spy(self: Any, candidates: Any, seeds: Any, *rest: Any) -> Any:
        met.append([len(candidates), *seeds])
        return evaluate(self, candidates, seeds, *rest)

    def die(self: Any) -> None:
        if self._state.finished:
            raise _Killed
        save(self)

    monkeypatch.setattr(stage.RealFitness, "evaluate", spy)
    values = {"final_candidates": 3, "final_episodes": 8}
    if killed:
        with monkeypatch.context() as patch:
            patch.setattr(SearchLoop, "_save", die)
            with pytest.raises(_Killed):
                _train(toy, run, **values)
        before = len(met)
    state = _train(toy, run, **values)
    if killed:
        assert len(met) == before
    best = load_checkpoint(run / "controller", "best", "").info
    chosen = best["selection"]
    assert len(chosen["generations"]) == 3
    assert sorted(chosen["episodes"]) == [4, 8, 8]
    assert state.best_generation == best["generation"] == chosen["generations"][chosen["winner"]]
    assert state.best_return == best["validation_return"] == chosen["returns"][chosen["winner"]]
    compared = {seed for _, *seeds in met[-2:] for seed in seeds}
    assert len(compared) == 8
    assert not compared & {seed for _, *seeds in met[:-2] for seed in seeds}
    lines = read_metrics(run / "controller")
    assert state.num_steps["real"] == lines[-1]["real_steps"] + chosen["num_steps"]
    controller = load_checkpoint(run / "controller", "best", "").weights["parameters"]
    name = f"{best['generation']:06d}"
    np.testing.assert_array_equal(
        controller, load_checkpoint(means_folder(run / "controller"), name, "").weights["parameters"]
    )


def test_validation_in_the_dream_needs_a_search_in_the_dream(toy: ToyRun) -> None:
    run = _without_controller(toy)
    with pytest.raises(VmcError, match=r"validated in the dream, but its fitness is real.*\n.*--validate-in real"):
        _train(toy, run, validate_in="dream")
    assert not (run / "controller").exists()


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


def test_validation_episodes_have_no_no_reward_limit(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_finished_search_says_how_it_ended(toy: ToyRun) -> None:
    config = (toy.run / "controller" / "config.json").read_bytes()
    latest = (toy.run / "controller" / "latest.json").read_bytes()
    state = _train(toy, toy.run, generations=2)
    assert state.nothing_to_do == f"C in {toy.run / 'controller'} has 3 generations already."
    state = _train(toy, toy.run, target_return=-1000.0)
    assert re.search("reached .* already, after 3 generations", state.nothing_to_do)
    assert (toy.run / "controller" / "config.json").read_bytes() == config
    assert (toy.run / "controller" / "latest.json").read_bytes() == latest
    assert _train(toy, toy.run, generations=4).nothing_to_do == ""


def test_other_settings_are_refused_by_name(toy: ToyRun) -> None:
    with pytest.raises(VmcError, match="population_size = 6; now it is 9"):
        _train(toy, toy.run, population_size=9)


def test_from_the_dream_to_reality_is_a_new_phase_from_the_best(toy: ToyRun) -> None:
    run = _without_controller(toy)
    _train(toy, run, dream=True, generations=2)
    dreamed = load_checkpoint(run / "controller", "best", "").weights["parameters"]
    state = _train(toy, run, dream=False, generations=1, population_size=9, target_return=-1000.0)
    assert (state.phase, state.generation) == (1, 2)
    np.testing.assert_array_equal(load_checkpoint(run / "controller", "best", "").weights["parameters"], dreamed)
    assert state.num_steps["dream"] > 0
    assert state.num_steps["real"] > 0


def test_a_phase_from_scratch_begins_with_nothing_and_keeps_the_best(
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
    state = _train(toy, run, init="scratch", generations=1, step_size=1e-9)
    validation, candidates = scored[0], scored[1]
    np.testing.assert_array_equal(validation, best[None])  # the one to beat, under the new circumstances
    assert np.abs(candidates).max() < 1e-6
    kept = load_checkpoint(run / "controller", "best", "").weights["parameters"]
    assert np.array_equal(kept, best) == (state.best_generation == 2)
    assert (state.phase, state.generation) == (1, 3)


def test_a_search_from_scratch_may_be_followed_by_one_from_its_best(toy: ToyRun) -> None:
    """In the same V and M, with other settings; it can be stopped and resumed, and `init` tells the two apart."""
    run = _without_controller(toy)
    _train(toy, run, dream=True, init="scratch", generations=2)
    best = load_checkpoint(run / "controller", "best", "").weights["parameters"]
    state = _train(toy, run, dream=True, generations=1, population_size=9, step_size=1e-9)
    assert (state.phase, state.generation) == (1, 3)
    mean = load_checkpoint(run / "controller", "latest", "").weights["parameters"]
    np.testing.assert_allclose(mean, best, atol=1e-7)
    state = _train(toy, run, dream=True, generations=2, population_size=9, step_size=1e-9)
    assert (state.phase, state.generation) == (1, 4)


def test_the_toys_optimum_is_neared(toy: ToyRun) -> None:
    """The sign of the fitness: a search that minimised the return would end below where it began.

    The constant action 0 earns about 27 of 40 (1 - target^2 a step); 12 generations must gain on the controller of
    zeros, whatever the validation episodes.
    """
    run = _without_controller(toy)
    values = {"generations": 12, "population_size": 10, "validate_every": 12}
    state = _train(toy, run, **values, validation_episodes=8)
    means = [line["mean"] for line in read_metrics(run / "controller")]
    assert state.best_generation == 12
    assert np.mean(means[-3:]) > np.mean(means[:2])


@pytest.mark.parametrize(("inputs", "hidden_units", "dream"), [("z", 3, False), ("zch", 0, True)])
def test_other_shapes_of_c_are_searched_stored_and_driven(
    inputs: str, hidden_units: int, dream: bool, toy: ToyRun
) -> None:
    run = _without_controller(toy)
    _train(toy, run, inputs=inputs, hidden_units=hidden_units, dream=dream, generations=2)
    stored = load_controller(run, vae_checkpoint(run), dynamics_checkpoint(run, vae_checkpoint(run)))
    assert (stored.settings.inputs, stored.settings.hidden_units) == (inputs, hidden_units)
    assert len(stored.parameters) == stored.settings.num_parameters
    result = evaluate.evaluate_controller(toy_settings("test", episodes=2), toy.data, run, "cpu", 0)
    assert len(result["episodes"]) == 2


def _content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("shape", [{"inputs": "z"}, {"hidden_units": 4}, {"inputs": "z", "hidden_units": 4}])
@pytest.mark.parametrize("others", [{}, {"dream": True}, {"init": "scratch", "population_size": 9}])
def test_another_shape_of_c_is_refused_and_leaves_the_folder_as_it_was(
    shape: dict[str, Any], others: dict[str, Any], toy: ToyRun
) -> None:
    """Also where a new phase begins, which may have other settings."""
    before = _content(toy.run / "controller")
    name, value = next(iter(shape.items()))
    with pytest.raises(VmcError, match=rf"has {name.replace('_', ' ')} .*; now it is {value}.\n.*another --run"):
        _train(toy, toy.run, **shape, **others)
    assert _content(toy.run / "controller") == before


def test_another_shape_of_c_is_refused_for_another_m_too(toy: ToyRun) -> None:
    """A new phase of the search would be due."""
    before = _content(toy.run / "controller")
    shutil.rmtree(toy.run / "mdrnn")
    train_mdrnn(toy_settings("train-mdrnn", epochs=1), toy.data, toy.run, "cpu")
    with pytest.raises(VmcError, match="do not belong together"):
        load_controller(toy.run, vae_checkpoint(toy.run), dynamics_checkpoint(toy.run, vae_checkpoint(toy.run)))
    with pytest.raises(VmcError, match="has hidden units 0; now it is 4"):
        _train(toy, toy.run, hidden_units=4)
    assert _content(toy.run / "controller") == before


def test_the_dream_of_a_search_is_kept_with_c(toy: ToyRun) -> None:
    """A search in the real environment keeps it too: it is what C dreams with."""
    run = _without_controller(toy)
    values = {"temperature": 1.7, "horizon": 33, "sample_termination": True, "termination_threshold": 0.4}
    for dream in (True, False):
        _train(toy, run, dream=dream, generations=1, **values)
        for name in ("best", "latest"):
            assert load_checkpoint(run / "controller", name, "").info["dream"] == values
        _without_controller(toy)


def test_a_checkpoint_says_what_it_holds(toy_session: ToyRun) -> None:
    info = load_checkpoint(toy_session.run / "controller", "latest", "").info
    assert info["model"] == {"inputs": "zh", "input_size": 40, "action_size": 1, "hidden_units": 0}
    assert info["state"]["generation"] == 3
    assert info["state"]["finished"] is info["finished"] is True
    assert info["vae"] == vae_checkpoint(toy_session.run).sha256
    assert info["dynamics"] == dynamics_checkpoint(toy_session.run, vae_checkpoint(toy_session.run)).sha256
    assert {"trainer", "config", "dream", "fitness", "init"} <= info.keys()
