import dataclasses

import numpy as np
import pytest
import torch

from vmc.dream.starts import record_starts
from vmc.errors import VmcError
from vmc.models.dynamics import MDNRNN
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.seeding import stream
from vmc.storage.latents import Latents


def _latents() -> Latents:
    rng = np.random.default_rng(0)
    lengths = np.array([25, 31])
    frames, steps = int(lengths.sum()) + 2, int(lengths.sum())
    floats = [rng.standard_normal((n, w)).astype(np.float32) for n, w in ((frames, 4), (frames, 4), (steps, 2))]
    rewards = rng.standard_normal(steps).astype(np.float32)
    return Latents(*floats, rewards, np.array([0, 3]), lengths, np.array([False, True]))


def _dynamics() -> MDNRNN:
    torch.manual_seed(0)
    return MDNRNN(DynamicsSettings(4, 2, 16)).eval()


def test_starts_are_recorded_moments_with_the_state_that_m_had_there() -> None:
    latents, dynamics = _latents(), _dynamics()
    starts = record_starts(dynamics, latents, np.array([1]), sample_latents=False, seed=0)
    assert len(starts) == 3  # steps 0, 10 and 20 of an episode that step 30 terminated
    drawn, hidden = starts.draw([stream(seed, "test") for seed in range(40)])
    first_frame, first_step = 26, 25
    with torch.no_grad():
        for t in (0, 10, 20):
            frame = torch.from_numpy(latents.means[first_frame + t])
            matches = (drawn == frame).all(dim=1)
            assert matches.any()  # each of 3 moments is missed by 40 draws once in 10 million
            expected = dynamics.initial_hidden(1)
            for step in range(t):
                z = torch.from_numpy(latents.means[None, first_frame + step])
                a = torch.from_numpy(latents.actions[None, first_step + step])
                expected = dynamics.step(z, a, expected)
            torch.testing.assert_close(hidden.h[matches][:1], expected.h)
            torch.testing.assert_close(hidden.c[matches][:1], expected.c)


def test_a_draw_depends_on_its_own_generator_alone() -> None:
    starts = record_starts(_dynamics(), _latents(), np.array([0, 1]), sample_latents=True, seed=0)
    many, _ = starts.draw([stream(seed, "test") for seed in (7, 8, 9)])
    one, _ = starts.draw([stream(8, "test")])
    assert torch.equal(many[1:2], one)


def test_no_dream_starts_where_an_episode_is_lost() -> None:
    latents = _latents()
    rewards = np.ones_like(latents.rewards)
    rewards[5:22] = 0  # of the first episode, 25 steps long
    latents = dataclasses.replace(latents, rewards=rewards)
    chosen = np.array([0])
    assert len(record_starts(_dynamics(), latents, chosen, True, 0, no_reward_limit=17)) == 1  # 0, not 10 and 20
    assert len(record_starts(_dynamics(), latents, chosen, True, 0, no_reward_limit=18)) == 3
    with pytest.raises(VmcError, match="No recorded moment is left"):
        record_starts(_dynamics(), dataclasses.replace(latents, rewards=-rewards), chosen, True, 0, no_reward_limit=1)
