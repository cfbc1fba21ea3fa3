"""M beside a real episode."""

import numpy as np
import torch
from small_dream import Z, drive, make_dream

from vmc.dream.beside import DREAM_STEPS, DreamBeside
from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld
from vmc.models.dynamics.contract import SequenceBatch
from vmc.models.dynamics.noise import draw_noise


def _episode(steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents (T + 1, Z), actions (T, A) and rewards (T,)."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((steps + 1, Z), np.float32), drive(steps, 1)[:, 0], rng.standard_normal(steps)


def test_it_follows_the_real_episode_and_expects_what_m_predicts() -> None:
    dream, (latents, actions, rewards) = make_dream(), _episode(12)
    beside = DreamBeside(dream, DreamSettings(), np.random.default_rng(1))
    beside.begin(latents[0])
    found = [beside.step(*step) for step in zip(actions, latents[1:], rewards, strict=True)]
    tensors = (torch.from_numpy(np.asarray(part, np.float32))[None] for part in (latents, actions, rewards))
    z, a, r = tensors
    batch = SequenceBatch(z, a, r, torch.zeros_like(r), torch.ones_like(r))
    expected, state = dream.dynamics.predict(batch, dream.dynamics.initial(z[:, 0]))
    columns = (expected.rewards[0], expected.terminations[0], expected.nll[0])
    np.testing.assert_allclose(np.array(found), torch.stack(columns, dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tuple(beside.state), tuple(state), rtol=1e-4, atol=1e-5)
    assert torch.equal(beside.latents()[0], z[0, -1])


def test_its_dream_is_m_under_the_same_actions() -> None:
    dream, (latents, actions, _) = make_dream(), _episode(12)
    beside = DreamBeside(dream, DreamSettings(), np.random.default_rng(1))
    beside.begin(latents[0])
    start = beside.state
    for action, latent in zip(actions, latents[1:], strict=True):
        beside.step(action, latent)
    world, rng = DreamWorld(dream.dynamics), np.random.default_rng(1)
    for action in actions:
        noise = draw_noise([rng], 1, world.noise_sizes, torch.device("cpu"))
        start = world.step(start, torch.from_numpy(action)[None], noise.at(0), DreamSettings()).state
    assert torch.equal(world.latents(start)[0], beside.latents()[1])


def test_its_dream_begins_again_at_a_real_frame() -> None:
    latents, actions, _ = _episode(DREAM_STEPS + 3)
    beside = DreamBeside(make_dream(), DreamSettings(), np.random.default_rng(1))
    beside.begin(latents[0])
    ages = []
    for action, latent in zip(actions, latents[1:], strict=True):
        beside.step(action, latent)
        ages.append(beside.steps)
    assert ages == [*range(1, DREAM_STEPS + 1), 1, 2, 3]
    beside.wake()
    assert torch.equal(*beside.latents())
