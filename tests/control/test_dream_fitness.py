"""The dream's fitness on the toy run."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun

from vmc.control.dream_fitness import DreamFitness, DreamJob, DreamWorker, _draw_action_noise, draw_starts
from vmc.control.return_accumulator import SoftCap
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamWorld
from vmc.executors import make_executor
from vmc.models.checkpoints import dynamics_checkpoint, vae_checkpoint
from vmc.models.controller import LinearSettings
from vmc.models.dynamics.mdn import MDN
from vmc.models.dynamics.state import State
from vmc.models.loading import load_dynamics, load_vae
from vmc.stages.dreaming import DreamSource, dream_fitness, find_starts, make_dream_worker

SEEDS = [11, 12, 13]
SHAPE = LinearSettings("zh", 8 + 32, 1)


def _candidates(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, SHAPE.num_parameters))


def _source(toy: ToyRun) -> DreamSource:
    return DreamSource(TOY, toy.data, toy.run, SHAPE, 0)


def _maker(toy: ToyRun, settings: DreamSettings, device: str = "cpu") -> Callable[[], DreamWorker]:
    return partial(make_dream_worker, dynamics_checkpoint(toy.run, vae_checkpoint(toy.run)), settings, SHAPE, device)


def _worker(toy: ToyRun, settings: DreamSettings) -> DreamWorker:
    return _maker(toy, settings)()


def _starts(toy: ToyRun) -> tuple[DreamStarts, DreamStarts]:
    return find_starts(_source(toy), torch.device("cpu"))


def _job(toy: ToyRun, candidates: np.ndarray, seeds: Sequence[int] = SEEDS, *rest: Any, **named: Any) -> DreamJob:
    """Dreams that begin in training episodes."""
    return DreamJob(candidates, seeds, draw_starts(_starts(toy)[0], seeds), *rest, **named)


def _dynamics(run: Path) -> MDN:
    dynamics = load_dynamics(run, load_vae(run)[1])[0]
    assert isinstance(dynamics, MDN)
    return dynamics


def _worker_whose_dreams_end(toy: ToyRun, horizon: int) -> DreamWorker:
    """At each step one in twenty, by sampled termination."""
    dynamics = _dynamics(toy.run)
    with torch.no_grad():
        dynamics.termination.weight.zero_()
        dynamics.termination.bias.fill_(-3.0)
        dynamics.termination_weight.fill_(1.0)
    settings = DreamSettings(horizon=horizon, sample_termination=True)
    worker = _worker(toy, settings)
    worker._world = DreamWorld(dynamics)
    return worker


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_a_score_depends_on_its_candidate_and_its_episode_alone(toy_session: ToyRun, temperature: float) -> None:
    worker = _worker(toy_session, DreamSettings(temperature, horizon=30))
    together = worker.run(_job(toy_session, _candidates(4)))
    alone = worker.run(_job(toy_session, _candidates(4)[2:3], SEEDS[1:2]))
    np.testing.assert_allclose(together.returns[2, 1], alone.returns[0, 0], rtol=1e-4, atol=1e-4)
    assert together.lengths[2, 1] == alone.lengths[0, 0]
    assert together.lengths.max() <= 30


def test_blocks_of_candidates_come_back_in_order_and_do_not_depend_on_the_workers(toy_session: ToyRun) -> None:
    settings = DreamSettings(horizon=20)
    make_worker = _maker(toy_session, settings)
    _, validation = _starts(toy_session)
    job = DreamJob(_candidates(5), SEEDS, draw_starts(validation, SEEDS))
    whole = _worker(toy_session, settings).run(job)
    scores = []
    for workers in (0, 2, 3):
        with closing(make_executor(make_worker, workers)) as executor:
            counted: list[int] = []
            fitness = DreamFitness(executor, lambda: validation, block_size=6)
            scores.append(fitness.evaluate(_candidates(5), SEEDS, counted.append))
        assert counted == [6, 6, 3] or workers  # in the order in which they are done
        assert sum(counted) == 15
        np.testing.assert_array_equal(scores[-1].returns, scores[0].returns)
    np.testing.assert_allclose(scores[0].returns, whole.returns, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(scores[0].lengths, whole.lengths)


def test_a_dream_that_has_ended_earns_nothing_more(toy_session: ToyRun) -> None:
    worker = _worker(toy_session, DreamSettings(horizon=20))
    dynamics = _dynamics(toy_session.run)
    with torch.no_grad():
        dynamics.termination.weight.zero_()
        dynamics.termination.bias.fill_(9.0)  # every dream ends with its first step
        dynamics.reward.weight.zero_()
        dynamics.reward.bias.fill_(2.0)
    worker._world = DreamWorld(dynamics)
    scores = worker.run(_job(toy_session, _candidates(3)))
    assert (scores.lengths == 1).all()
    np.testing.assert_allclose(scores.returns, 2 * dynamics.reward_scale.item(), rtol=1e-6)


def test_dreams_that_drop_out_leave_the_others_as_they_were(
    toy_session: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 4 x 8 dreams most end, and the batch is compacted on the way."""
    worker = _worker_whose_dreams_end(toy_session, horizon=60)
    job = _job(toy_session, _candidates(4), list(range(8)))
    sizes: list[int] = []
    step = DreamWorld.step

    def watched(world: DreamWorld, state: State, *args: object) -> object:
        sizes.append(len(state[0]))
        return step(world, state, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(DreamWorld, "step", watched)
        compacted = worker.run(job)
    assert sizes[0] == 32
    assert sizes[-1] < 20
    monkeypatch.setattr("vmc.control.dream_fitness._COMPACT_EVERY", 10_000)
    whole = worker.run(job)
    np.testing.assert_array_equal(compacted.lengths, whole.lengths)
    np.testing.assert_allclose(compacted.returns, whole.returns, rtol=1e-4, atol=1e-4)


def test_a_soft_cap_lowers_the_shaped_return_and_leaves_the_return(toy_session: ToyRun) -> None:
    worker = _worker_whose_dreams_end(toy_session, horizon=50)
    free, capped = (worker.run(_job(toy_session, _candidates(4), SEEDS, cap)) for cap in (None, SoftCap(0.05)))
    np.testing.assert_array_equal(free.shaped_returns, free.returns)
    np.testing.assert_array_equal(capped.returns, free.returns)
    np.testing.assert_array_equal(capped.lengths, free.lengths)
    assert (capped.shaped_returns <= capped.returns).all()
    assert (capped.shaped_returns < capped.returns).any()


def test_action_noise_changes_a_dream_by_its_size_and_for_all_candidates_alike(toy_session: ToyRun) -> None:
    worker = _worker(toy_session, DreamSettings(horizon=30))
    twins = np.repeat(_candidates(1), 2, axis=0)
    without, hardly, noisy = (
        worker.run(_job(toy_session, twins, action_noise=largest)).returns for largest in (0.0, 1e-6, 0.5)
    )
    np.testing.assert_allclose(hardly, without, rtol=1e-3, atol=1e-3)
    assert (np.abs(noisy - without) > 1e-2).all()
    np.testing.assert_array_equal(noisy[0], noisy[1])
    alone = worker.run(_job(toy_session, twins[:1], SEEDS[1:2], action_noise=0.5)).returns
    np.testing.assert_allclose(alone[0, 0], noisy[0, 1], rtol=1e-4, atol=1e-4)


def test_validation_dreams_have_no_action_noise(toy_session: ToyRun) -> None:
    scores = []
    for action_noise in (0.0, 0.5):
        settings = DreamSettings(horizon=20)
        with dream_fitness(_source(toy_session), settings, "cpu", 0, action_noise=action_noise) as both:
            scores.append([fitness.evaluate(_candidates(2), SEEDS).returns for fitness in both])
    (training, validation), (noisy, as_before) = scores
    assert (training != noisy).all()
    np.testing.assert_array_equal(validation, as_before)


def test_action_noise_is_correlated_and_of_up_to_its_size() -> None:
    noise = _draw_action_noise(range(200), 0.4, 300, 2, torch.device("cpu")).numpy()
    assert noise.shape == (300, 200, 2)
    spreads = np.sqrt(np.square(noise).mean(axis=(0, 2)))  # one for each dream, from U(0, 0.4)
    np.testing.assert_allclose([spreads.mean(), spreads.max()], [0.2, 0.4], atol=0.15)
    assert spreads.min() < 0.05
    correlation = (noise[10:] * noise[:-10]).mean() / np.square(noise).mean()
    np.testing.assert_allclose(correlation, np.exp(-1), atol=0.1)


def test_candidates_meet_the_same_dream(toy_session: ToyRun) -> None:
    """Two copies of one candidate get one score: starts and random numbers are common to a generation."""
    worker = _worker(toy_session, DreamSettings(horizon=30))
    scores = worker.run(_job(toy_session, np.repeat(_candidates(1), 3, axis=0))).returns
    np.testing.assert_array_equal(scores[0], scores[1])
    assert len(set(scores[0])) == len(SEEDS)


def test_a_step_that_a_graph_could_hold_dreams_the_same(toy_session: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU captures, run on a CPU: twice in the same tensors, with dreams that end on the way."""
    worker = _worker_whose_dreams_end(toy_session, horizon=70)
    jobs = [_job(toy_session, _candidates(4), list(seeds), SoftCap(0.05), 0.3) for seeds in (range(8), range(8, 16))]
    expected = [worker.run(job) for job in jobs]
    monkeypatch.setattr(worker, "_dream", worker._dream_on_gpu)
    for job, scores in zip(jobs, expected, strict=True):
        found = worker.run(job)
        np.testing.assert_array_equal(found.lengths, scores.lengths)
        np.testing.assert_allclose(found.returns, scores.returns, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.shaped_returns, scores.shaped_returns, rtol=1e-4, atol=1e-4)
    assert len(worker._graphs) == 1
    assert 1 < expected[0].lengths.min() < expected[0].lengths.max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_dreams_the_same(toy_session: ToyRun) -> None:
    job = _job(toy_session, _candidates(4), range(8), SoftCap(0.05), 0.3)
    workers = [_maker(toy_session, DreamSettings(horizon=30), device)() for device in ("cpu", "cuda")]
    expected, found = (worker.run(job) for worker in workers)
    np.testing.assert_array_equal(found.lengths, expected.lengths)
    np.testing.assert_allclose(found.returns, expected.returns, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.shaped_returns, expected.shaped_returns, rtol=1e-3, atol=1e-3)
