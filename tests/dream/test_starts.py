import dataclasses

import numpy as np
import pytest
import torch

from vmc.dream.starts import record_starts
from vmc.errors import VmcError
from vmc.models.dynamics import KINDS
from vmc.models.dynamics.contract import WorldModel
from vmc.models.loading import make_dynamics
from vmc.seeding import stream
from vmc.storage.latents import Latents


def _latents() -> Latents:
    rng = np.random.default_rng(0)
    lengths = np.array([25, 31])
    frames, steps = int(lengths.sum()) + 2, int(lengths.sum())
    floats = [rng.standard_normal((n, w)).astype(np.float32) for n, w in ((frames, 4), (frames, 4), (steps, 2))]
    rewards = rng.standard_normal(steps).astype(np.float32)
    return Latents(*floats, rewards, np.array([0, 3]), lengths, np.array([False, True]))


def _dynamics(kind: str = "lstm") -> WorldModel:
    torch.manual_seed(0)
    return make_dynamics(kind, latent_size=4, action_size=2, hidden_size=16, mixture="per-dimension").eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", [*KINDS, "tiny_dynamics:TinyDynamics"])
def test_starts_are_recorded_moments_with_the_state_that_m_had_there(kind: str) -> None:
    latents, dynamics = _latents(), _dynamics(kind)
    starts = record_starts(dynamics, latents, np.array([1]), sample_latents=False, seed=0)
    assert len(starts) == 3  # steps 0, 10 and 20 of an episode that step 30 terminated
    drawn = starts.draw([stream(seed, "test") for seed in range(40)])
    frames, actions = torch.from_numpy(latents.means[26:]), torch.from_numpy(latents.actions[25:])
    for t in (0, 10, 20):
        matches = (dynamics.latents(drawn) == frames[t]).all(dim=1)
        assert matches.any()  # each of 3 moments is missed by 40 draws once in 10 million
        expected = dynamics.initial(frames[:1])
        for step in range(t):
            expected = dynamics.observe(expected, actions[step : step + 1], frames[step + 1 : step + 2])
        torch.testing.assert_close(tuple(drawn.rows(matches).rows(slice(1))), tuple(expected))


def test_a_drawn_latent_is_the_posteriors_beside_the_recorded_memory() -> None:
    """Where z is sampled: the state's own z is of one draw, each dream has another."""
    dynamics, latents = _dynamics(), _latents()
    starts = record_starts(dynamics, latents, np.array([0, 1]), sample_latents=True, seed=0)
    generators = [[stream(seed, "test") for seed in range(5)] for _ in range(2)]
    drawn = starts.draw(generators[0])
    for row, generator in enumerate(generators[1]):
        moment = generator.integers(len(starts))
        noise = torch.from_numpy(generator.standard_normal(4, np.float32))
        expected = starts.means[moment] + (starts.log_variances[moment] / 2).exp() * noise
        torch.testing.assert_close(drawn[0][row], expected)
        torch.testing.assert_close(drawn[1][row], starts.state[1][moment], rtol=0, atol=0)


def test_selected_moments_keep_their_states() -> None:
    starts = record_starts(_dynamics(), _latents(), np.array([0, 1]), sample_latents=True, seed=0)
    chosen = starts.selected(np.array([3, 0]))
    assert len(chosen) == 2
    torch.testing.assert_close(chosen.means, starts.means[[3, 0]], rtol=0, atol=0)
    torch.testing.assert_close(tuple(chosen.state), tuple(part[[3, 0]] for part in starts.state), rtol=0, atol=0)


def test_a_draw_depends_on_its_own_generator_alone() -> None:
    starts = record_starts(_dynamics(), _latents(), np.array([0, 1]), sample_latents=True, seed=0)
    many = starts.draw([stream(seed, "test") for seed in (7, 8, 9)])
    one = starts.draw([stream(8, "test")])
    torch.testing.assert_close(tuple(many.rows(slice(1, 2))), tuple(one), rtol=0, atol=0)


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
