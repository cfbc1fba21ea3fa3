from contextlib import closing
from functools import partial

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun

from vmc.dream.world import DreamSettings
from vmc.episode import Limits
from vmc.evolution.real import EpisodeWorker, RealFitness
from vmc.executors import make_executor
from vmc.stages.dreaming import make_dream_fitness

SEEDS = [11, 12, 13]


def _candidates(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 8 + 32 + 1))


def _real(toy: ToyRun, candidates: np.ndarray, num_workers: int) -> tuple[np.ndarray, np.ndarray]:
    with closing(make_executor(partial(EpisodeWorker, toy.run, TOY), num_workers)) as executor:
        scores = RealFitness(executor, Limits()).evaluate(candidates, SEEDS)
    return scores.returns, scores.lengths


def test_fitness_does_not_depend_on_the_number_of_workers(toy_session: ToyRun) -> None:
    serial, lengths = _real(toy_session, _candidates(4), 0)
    assert serial.shape == lengths.shape == (4, 3)
    for num_workers in (1, 2):
        np.testing.assert_array_equal(_real(toy_session, _candidates(4), num_workers)[0], serial)


def test_a_score_depends_on_its_candidate_and_its_episode_alone(toy_session: ToyRun) -> None:
    together, _ = _real(toy_session, _candidates(4), 0)
    alone, _ = _real(toy_session, _candidates(4)[2:3], 0)
    np.testing.assert_array_equal(together[2:3], alone)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_the_dreams_score_depends_on_its_candidate_and_its_episode_alone(
    toy_session: ToyRun, temperature: float
) -> None:
    settings = DreamSettings(temperature, horizon=30)
    fitness = make_dream_fitness(TOY, toy_session.data, toy_session.run, settings, "cpu", 0, held_out=False)
    together = fitness.evaluate(_candidates(4), SEEDS)
    alone = fitness.evaluate(_candidates(4)[2:3], SEEDS[1:2])
    np.testing.assert_allclose(together.returns[2, 1], alone.returns[0, 0], rtol=1e-4, atol=1e-4)
    assert together.lengths[2, 1] == alone.lengths[0, 0]
    assert together.lengths.max() <= 30


def test_a_dream_that_has_ended_earns_nothing_more(toy_session: ToyRun) -> None:
    settings = DreamSettings(horizon=20)
    fitness = make_dream_fitness(TOY, toy_session.data, toy_session.run, settings, "cpu", 0, held_out=False)
    dynamics = fitness._world.dynamics
    with torch.no_grad():
        dynamics.termination.weight.zero_()
        dynamics.termination.bias.fill_(9.0)  # every dream ends with its first step
        dynamics.reward.weight.zero_()
        dynamics.reward.bias.fill_(2.0)
    scores = fitness.evaluate(_candidates(3), SEEDS)
    assert (scores.lengths == 1).all()
    np.testing.assert_allclose(scores.returns, 2 * dynamics.reward_scale.item(), rtol=1e-6)


def test_candidates_meet_the_same_dream(toy_session: ToyRun) -> None:
    """Two copies of one candidate get one score: starts and random numbers are common to a generation."""
    settings = DreamSettings(horizon=30)
    fitness = make_dream_fitness(TOY, toy_session.data, toy_session.run, settings, "cpu", 0, held_out=False)
    scores = fitness.evaluate(np.repeat(_candidates(1), 3, axis=0), SEEDS).returns
    np.testing.assert_array_equal(scores[0], scores[1])
    assert len(set(scores[0])) == len(SEEDS)
