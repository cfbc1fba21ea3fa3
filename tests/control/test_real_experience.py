"""Episodes that a trainer learns from: what was recorded is what was done."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import TOY, ToyRun

from vmc.control.output_noise import NoisyController
from vmc.control.real_experience import Episode, ExperienceJob, ExperienceWorker
from vmc.control.real_fitness import EpisodeJob, EpisodeWorker
from vmc.episode import Limits
from vmc.models.agent import load_body
from vmc.models.controller import LinearController, LinearSettings

SHAPE = LinearSettings("zh", 8 + 32, 1)
NO_LIMITS = Limits()
PARAMETERS = np.random.default_rng(0).standard_normal(SHAPE.num_parameters)


def _outputs(features: np.ndarray) -> np.ndarray:
    return features @ PARAMETERS[:-1].astype(np.float32) + np.float32(PARAMETERS[-1])


def _episode(toy: ToyRun, scale: float, limits: Limits = NO_LIMITS) -> Episode:
    worker = ExperienceWorker(load_body(toy.run, TOY), TOY, SHAPE)
    episode = worker.run(ExperienceJob(PARAMETERS, 11, limits, scale))
    worker.close()
    return episode


def test_without_noise_it_is_the_episode_that_a_search_would_score(toy_session: ToyRun) -> None:
    episode = _episode(toy_session, scale=1e-12)
    worker = EpisodeWorker(load_body(toy_session.run, TOY), TOY, SHAPE)
    result = worker.run(EpisodeJob(PARAMETERS, 11, Limits()))
    # z is drawn by the same stream as the noise, so the episodes are alike, not the same.
    assert len(episode.rewards) == result.episode_length
    assert episode.features.shape == (result.episode_length + 1, 40)
    np.testing.assert_allclose(episode.outputs[:, 0], _outputs(episode.features[:-1]), atol=1e-4)


def test_outputs_have_noise_of_the_scale(toy_session: ToyRun) -> None:
    episode = _episode(toy_session, scale=0.5)
    noise = episode.outputs[:, 0] - _outputs(episode.features[:-1])
    assert len(noise) == 40
    assert 0.3 < noise.std() < 0.7  # 3.6 standard errors
    assert abs(noise.mean()) < 0.29  # 3.7 standard errors


@pytest.mark.parametrize("limits", [Limits(max_steps=7), Limits(max_steps=7, no_reward_limit=7)])
def test_an_episode_ends_for_good_for_want_of_reward_alone(limits: Limits, toy_session: ToyRun) -> None:
    episode = _episode(toy_session, 0.1, limits)
    assert len(episode.rewards) <= 7
    was_rewarded = bool((episode.rewards > 0).any())
    assert episode.terminated == (limits.no_reward_limit is not None and not was_rewarded)


def test_noise_of_an_episode_comes_from_its_own_stream() -> None:
    controller = NoisyController(LinearController(SHAPE, PARAMETERS), 0.5, is_discrete=False)
    features = {"z": np.ones(8, np.float32), "h": np.ones(32, np.float32)}
    found = []
    for seed in (1, 1, 2):
        controller.reset(np.random.default_rng(seed))
        found.append([controller.act(features)[0] for _ in range(3)])
    assert found[0] == found[1] != found[2]
    assert len(set(found[0])) == 3
