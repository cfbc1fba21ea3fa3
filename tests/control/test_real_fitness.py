from contextlib import closing
from functools import partial

import numpy as np
from conftest import TOY, ToyRun

from vmc.control.real_fitness import EpisodeWorker, RealFitness
from vmc.episode import Limits
from vmc.executors import make_executor
from vmc.models.agent import load_body
from vmc.models.controller import LinearSettings

SEEDS = [11, 12, 13]
SHAPE = LinearSettings("zh", 8 + 32, 1)


def _candidates(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, SHAPE.num_parameters))


def _real(toy: ToyRun, candidates: np.ndarray, num_workers: int) -> tuple[np.ndarray, np.ndarray]:
    with closing(make_executor(partial(EpisodeWorker, load_body(toy.run, TOY), TOY, SHAPE), num_workers)) as executor:
        scores = RealFitness(executor, Limits()).evaluate(candidates, SEEDS)
    np.testing.assert_array_equal(scores.shaped_returns, scores.returns)  # nothing shapes them in the real environment
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
