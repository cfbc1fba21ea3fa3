import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ToyRun, toy_settings

from vmc.control.real_fitness import EpisodeWorker
from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld
from vmc.envs import action_map_of, make_env
from vmc.episode import run_episode
from vmc.errors import VmcError
from vmc.policies import RandomPolicy
from vmc.seeding import env_seed, stream
from vmc.stages.evaluate import evaluate_controller, evaluate_temperatures, summary
from vmc.stages.results import read_result
from vmc.stages.train_controller import train_controller
from vmc.storage.checkpoint import load_checkpoint, save_checkpoint


def test_summary_is_that_of_numpy() -> None:
    returns = [3.0, 5.0, 10.0, -2.0]
    found = summary(returns)
    assert found["mean"] == np.mean(returns)
    assert found["std"] == pytest.approx(np.std(returns, ddof=1))
    half = 3.182 * np.std(returns, ddof=1) / 2  # scipy.stats.t.ppf(0.975, 3)
    assert found["ci95"] == pytest.approx([4 - half, 4 + half])
    assert (found["min"], found["max"]) == (-2, 10)


def test_the_result_holds_every_episode(toy: ToyRun) -> None:
    result = evaluate_controller(toy_settings("test", episodes=5), toy.data, toy.run, "cpu", 0)
    assert result == read_result(toy.run / "test.json")
    assert [episode["seed"] for episode in result["episodes"]] == [env_seed(0, "test", i) for i in range(5)]
    assert result["mean"] == pytest.approx(np.mean([episode["episode_return"] for episode in result["episodes"]]))
    assert result["dream"] is False
    assert {"env", "std", "ci95", "min", "max", "config", "versions"} <= result.keys()


def test_the_score_does_not_depend_on_the_workers(toy: ToyRun) -> None:
    results = [evaluate_controller(toy_settings("test"), toy.data, toy.run, "cpu", n)["episodes"] for n in (0, 2)]
    assert results[0] == results[1]


def test_a_killed_test_goes_on_where_it_was(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate_controller(toy_settings("test"), toy.data, toy.run, "cpu", 0)["episodes"]
    journal = toy.run / "test-episodes.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:5]) + lines[5][:10])  # four episodes, and a line that a kill cut short
    ran = []
    run = EpisodeWorker.run
    monkeypatch.setattr(EpisodeWorker, "run", lambda self, job: (ran.append(job), run(self, job))[1])
    assert evaluate_controller(toy_settings("test"), toy.data, toy.run, "cpu", 0)["episodes"] == whole
    assert len(ran) == 6
    # Another limit, or another controller, has another journal.
    evaluate_controller(toy_settings("test", max_steps=5), toy.data, toy.run, "cpu", 0)
    assert len(ran) == 16
    # Those of the same controller under the limits before are still there.
    evaluate_controller(toy_settings("test"), toy.data, toy.run, "cpu", 0)
    assert len(ran) == 16
    journal.write_text("{garbage\n")
    with pytest.raises(VmcError, match="damaged"):
        evaluate_controller(toy_settings("test"), toy.data, toy.run, "cpu", 0)


def test_the_same_c_with_another_m_is_tested_again(toy: ToyRun) -> None:
    """A later round may find the C that it began with to be the best, for a V and an M that have learnt since."""
    c = load_checkpoint(toy.run / "controller", "best", "")
    # The toy's own C may score the same whatever M says.
    parameters = np.random.default_rng(0).standard_normal(c.weights["parameters"].shape)
    save_checkpoint(toy.run / "controller", "best", c.info, {"parameters": parameters})
    first = evaluate_controller(toy_settings("test"), toy.data, toy.run, "cpu", 0)
    m = load_checkpoint(toy.run / "mdrnn", "best", "")
    halved = {name: np.asarray(array / 2) if name.startswith("lstm") else array for name, array in m.weights.items()}
    digest = save_checkpoint(toy.run / "mdrnn", "best", m.info, halved, graphs=m.graphs)
    save_checkpoint(toy.run / "controller", "best", c.info | {"dynamics": digest}, {"parameters": parameters})
    second = evaluate_controller(toy_settings("test", episodes=4), toy.data, toy.run, "cpu", 0)
    assert second["controller"] == first["controller"]
    assert second["agent"] != first["agent"]
    known = {episode["seed"]: episode["episode_return"] for episode in first["episodes"]}
    assert any(known[episode["seed"]] != episode["episode_return"] for episode in second["episodes"])
    assert read_result(toy.run / "test.json") == second


def test_another_file_is_not_replaced_by_a_result(toy: ToyRun) -> None:
    file = toy.run / "controller" / "best.json"
    before = file.read_bytes()
    with pytest.raises(VmcError, match="is no result of this command"):
        evaluate_controller(toy_settings("test", episodes=2), toy.data, toy.run, "cpu", 0, file)
    assert file.read_bytes() == before


def test_the_runs_own_result_can_be_left_alone(toy: ToyRun, tmp_path: Path) -> None:
    evaluate_controller(toy_settings("test", episodes=3), toy.data, toy.run, "cpu", 0)
    before = (toy.run / "test.json").read_bytes()
    evaluate_controller(toy_settings("test", episodes=2), toy.data, toy.run, "cpu", 0, tmp_path / "other.json")
    assert (toy.run / "test.json").read_bytes() == before
    assert len(json.loads((tmp_path / "other.json").read_text())["episodes"]) == 2


def test_the_dreams_score_is_kept_apart(toy: ToyRun) -> None:
    settings = toy_settings("test", dream=True, temperature=1.3, horizon=25)
    result = evaluate_controller(settings, toy.data, toy.run, "cpu", 0)
    assert result["dream"] is True
    assert result["temperature"] == 1.3
    assert max(episode["episode_length"] for episode in result["episodes"]) <= 25
    assert not (toy.run / "test.json").exists()
    assert (toy.run / "test-dream.json").exists()


def test_the_dream_is_the_one_that_was_asked_for(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    dreamed = _watched_dreams(monkeypatch)
    values = {"temperature": 1.3, "horizon": 25, "sample_termination": True, "termination_threshold": 0.6}
    evaluate_controller(toy_settings("test", dream=True, **values), toy.data, toy.run, "cpu", 0)
    assert dreamed == {DreamSettings(1.3, 25, True, 0.6)}


OWN_DREAM = {"temperature": 2.0, "horizon": 17, "sample_termination": True, "termination_threshold": 0.7}


@pytest.fixture
def hot(toy: ToyRun) -> ToyRun:
    """A run whose C was evolved in a dream at temperature 2."""
    shutil.rmtree(toy.run / "controller")
    settings = toy_settings("train-controller", dream=True, generations=2, **OWN_DREAM)
    train_controller(settings, toy.data, toy.run, "cpu", 0)
    return toy


def test_by_default_a_c_is_tested_in_the_dream_that_it_was_evolved_in(
    hot: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    dreamed = _watched_dreams(monkeypatch)
    result = evaluate_controller(toy_settings("test", dream=True), hot.data, hot.run, "cpu", 0)
    assert dreamed == {DreamSettings(**OWN_DREAM)}
    assert result["temperature"] == 2.0
    assert max(episode["episode_length"] for episode in result["episodes"]) <= 17
    assert result == read_result(hot.run / "test-dream.json")


def test_a_given_temperature_leaves_the_rest_of_the_dream_as_it_was(
    hot: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    dreamed = _watched_dreams(monkeypatch)
    settings = toy_settings("test", dream=True, temperature=0.5, sample_termination=False)
    assert evaluate_controller(settings, hot.data, hot.run, "cpu", 0)["temperature"] == 0.5
    assert dreamed == {DreamSettings(0.5, 17, False, 0.7)}


def test_a_table_of_temperatures_keeps_the_rest_of_the_dream(hot: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    dreamed = _watched_dreams(monkeypatch)
    results, _ = evaluate_temperatures(toy_settings("test", episodes=2), [0.5, 3.0], hot.data, hot.run, "cpu", 0)
    assert dreamed == {DreamSettings(0.5, 17, True, 0.7), DreamSettings(3.0, 17, True, 0.7)}
    assert [result["temperature"] for result in results] == [0.5, 3.0, None]


def _watched_dreams(monkeypatch: pytest.MonkeyPatch) -> set[DreamSettings]:
    """The settings of all dreams from now on."""
    dreamed: set[DreamSettings] = set()
    step = DreamWorld.step

    def watched(world: DreamWorld, state: Any, actions: Any, noise: Any, settings: DreamSettings) -> Any:
        dreamed.add(settings)
        return step(world, state, actions, noise, settings)

    monkeypatch.setattr(DreamWorld, "step", watched)
    return dreamed


def test_a_policy_without_models_needs_no_run(toy: ToyRun, tmp_path: Path) -> None:
    """The same episodes as C's, by a policy that draws from each episode's own stream."""
    settings = toy_settings("test", policy="random", episodes=3)
    result = evaluate_controller(settings, toy.data, tmp_path / "none", "cpu", 0)
    env = make_env(settings.env)
    policy = RandomPolicy(action_map_of(settings.env, env))
    for number, episode in enumerate(result["episodes"]):
        seed = env_seed(0, "test", number)
        outcome = run_episode(env, policy, seed, stream(seed, "agent"))
        assert episode == {
            "seed": seed,
            "episode_return": outcome.episode_return,
            "episode_length": outcome.episode_length,
        }
    assert result["controller"] is None


def test_a_policy_without_models_does_not_dream(toy: ToyRun) -> None:
    with pytest.raises(VmcError, match="random does not dream"):
        evaluate_controller(toy_settings("test", policy="random", dream=True), toy.data, toy.run, "cpu", 0)


def test_a_result_tells_how_many_controllers_have_met_its_seed(toy: ToyRun) -> None:
    def uses(**given: Any) -> int | None:
        return evaluate_controller(toy_settings("test", episodes=2, **given), toy.data, toy.run, "cpu", 0)["seed_uses"]

    assert uses() == uses() == 1
    checkpoint = load_checkpoint(toy.run / "controller", "best", "")
    changed = {"parameters": checkpoint.weights["parameters"] + 1}
    save_checkpoint(toy.run / "controller", "best", checkpoint.info, changed)
    assert uses() == 2
    assert uses(seed=1) == 1
    assert uses(dream=True) is None
    assert uses(policy="random") is None
    for damaged in ("{", "[]", '{"vmc/Toy-v0": {"0": 3}}'):
        (toy.run / "seed-uses.json").write_text(damaged)
        with pytest.raises(VmcError, match=r"seed-uses\.json"):
            uses()
