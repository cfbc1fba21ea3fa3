"""The planner as a stage: it needs no generations, acts by M's dream, and is tested like any C."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from conftest import TOY, ToyRun, toy_settings

from vmc.control.loop import SearchState
from vmc.errors import VmcError
from vmc.library import load_run
from vmc.models.agent import load_agent
from vmc.stages.collect import collect
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.export import describe_copy, export_run
from vmc.stages.train_controller import train_controller

PLANNER = {"trainer": "planner", "plan_steps": 4, "plan_iterations": 3, "plan_candidates": 60, "validation_episodes": 6}
TEST = toy_settings("test", episodes=4)


def _plan(toy: ToyRun, **values: Any) -> SearchState:
    return train_controller(toy_settings("train-controller", **PLANNER | values), toy.data, toy.run, "cpu", 0)


def _returns(toy: ToyRun) -> list[float]:
    result = evaluate_controller(TEST, toy.data, toy.run, "cpu", 0)
    return [episode["episode_return"] for episode in result["episodes"]]


def test_a_planner_acts_well_without_a_search(toy: ToyRun) -> None:
    """The linear C of three generations has about 20; the best possible return is 40."""
    state = _plan(toy, init="scratch")
    assert state.finished
    assert state.best_return is not None
    assert state.best_return > 30
    assert min(_returns(toy)) > 25


def test_another_planner_is_another_controller(toy: ToyRun) -> None:
    """The same parameters with other settings: a test's finished episodes are not taken for its own."""
    scores = []
    for candidates in (4, 60):
        _plan(toy, init="scratch", plan_candidates=candidates)
        scores.append(_returns(toy))
        (toy.run / "controller" / "latest.json").unlink()
        (toy.run / "controller" / "best.json").unlink()
    assert scores[0] != scores[1]


def test_it_collects_and_exports_like_any_controller(toy: ToyRun) -> None:
    _plan(toy, init="scratch")
    before = collect(toy_settings("rollouts"), toy.data, None, 0)
    after = collect(toy_settings("rollouts", episodes=18, policy="controller"), toy.data, toy.run, 0)
    assert after.num_episodes == before.num_episodes + 4
    exported = toy.run.parent / "exported"
    export_run(toy.run, exported)
    assert min(_returns(replace(toy, run=exported))) > 25
    described = describe_copy(toy.run, exported, json.loads((exported / "test.json").read_text()))
    assert "planner: plan steps 4" in described.read_text()


def test_a_planner_goes_on_from_the_controller_that_proposes(toy: ToyRun) -> None:
    before = load_agent(toy.run, TOY)
    state = _plan(toy, init="best")
    assert state.phase == 1
    parameters = load_agent(toy.run, TOY)
    assert before.source["controller"] != parameters.source["controller"]


@pytest.mark.parametrize(("values", "message"), [({"dream": True}, "real environment alone")])
def test_a_planner_is_not_trained_in_the_dream(values: dict[str, Any], message: str, toy: ToyRun) -> None:
    with pytest.raises(VmcError, match=message):
        _plan(toy, **values)


def test_what_a_planner_cannot_do_is_told(toy: ToyRun) -> None:
    _plan(toy, init="scratch")
    with pytest.raises(VmcError, match=r"is a planner(.|\n)*Leave out --dream"):
        evaluate_controller(toy_settings("test", dream=True), toy.data, toy.run, "cpu", 0)
    with pytest.raises(VmcError, match=r"is a planner(.|\n)*agent\(\)"):
        load_run(toy.run).batch_controller()
