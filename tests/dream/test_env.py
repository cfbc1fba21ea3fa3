"""One dream behind Gymnasium's interface."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from small_dream import END, GO, Z, drive, make_dream, save_run

from vmc.dream.env import DreamEnv
from vmc.dream.settings import DreamSettings
from vmc.dream.vector_env import DreamVectorEnv
from vmc.dream.world import DreamWorld
from vmc.envs.action_map import OneHotActionMap
from vmc.errors import VmcError
from vmc.models.dynamics.noise import Noise
from vmc.models.vision.conv import to_frames
from vmc.seeding import stream


@pytest.mark.parametrize("observations", ["latent", "features", "pixels"])
@pytest.mark.filterwarnings("ignore:.*This is probably too (low|high)")  # a Gaussian's z has no bounds
def test_it_passes_gymnasiums_checker(observations: str, tmp_path: Path) -> None:
    save_run(tmp_path)
    env = gymnasium.make("vmc/Dream-v0", run=tmp_path, observations=observations, render_mode="rgb_array")
    assert env.spec is not None
    assert env.spec.max_episode_steps == 1000
    check_env(env.unwrapped)


@pytest.mark.filterwarnings("ignore:.*This is probably too (low|high)")
def test_discrete_actions_are_the_real_environments_own() -> None:
    """The environment takes their numbers, M sees the one-hot vectors that it was trained on."""
    dream = make_dream(action_map=OneHotActionMap(2))
    single, vectors = DreamEnv(dream), DreamVectorEnv(2, dream)
    check_env(single, skip_render_check=True)
    assert single.action_space == gymnasium.spaces.Discrete(2) == vectors.single_action_space
    single.reset(seed=0)
    vectors.reset(seed=0)
    single.step(np.int64(0))
    vectors.step(np.array([0, 1]))
    for state in (single._batch.state, vectors._batch.state):
        starts = dream.starts.draw([stream(seed, "dream/env") for seed in range(len(state[0]))])
        expected = dream.dynamics.observe(starts, torch.eye(2)[: len(state[0])], state[0])
        torch.testing.assert_close(tuple(state), tuple(expected), rtol=1e-5, atol=1e-6)
    for wrong in (2, -1, 0.5):
        with pytest.raises(VmcError, match="whole numbers from 0 to 1"):
            single.step(np.asarray(wrong))
    with pytest.raises(VmcError, match=r"shape \(2, 2\); this dream expects \(2,\)"):
        vectors.step(np.zeros((2, 2)))


def test_registering_imports_no_torch() -> None:
    code = "import gymnasium, sys, vmc; gymnasium.spec('vmc/Dream-v0'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_naming_the_module_is_enough(tmp_path: Path) -> None:
    save_run(tmp_path)
    code = "import gymnasium, sys; gymnasium.make('vmc:vmc/Dream-v0', run=sys.argv[1]).reset()"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_an_episode_is_the_world_stepped_by_hand() -> None:
    """From the seed's start, with the seed's noise: 40 steps, more than are drawn at once."""
    dream, settings = make_dream(), DreamSettings(temperature=1.2)
    world, generator = DreamWorld(dream.dynamics), stream(5, "dream/env")
    env = DreamEnv(dream, observations="features", temperature=1.2)
    seen, _ = env.reset(seed=5)
    state = dream.starts.draw([generator])
    np.testing.assert_array_equal(seen, torch.cat(state[:2], dim=1)[0])  # z and h
    for t, action in enumerate(drive(40, 1)):
        if t % 16 == 0:
            uniform = generator.random((16, Z + 1), np.float32)
            normal = generator.standard_normal((16, Z), np.float32)
        numbers = (uniform[t % 16, None, 1:].copy(), normal[t % 16, None], uniform[t % 16, None, 0])
        step = world.step(state, torch.from_numpy(action), Noise(*map(torch.from_numpy, numbers)), settings)
        state = step.state
        seen, reward, terminated, truncated, info = env.step(action[0])
        np.testing.assert_array_equal(seen, torch.cat(state[:2], dim=1)[0])
        assert (reward, terminated, truncated, info) == (step.rewards.item(), action[0, 1] > 0.5, False, {})
        assert env.termination == step.terminations.item()


def test_a_seed_is_a_dream_and_later_episodes_differ() -> None:
    env, other = DreamEnv(make_dream()), DreamEnv(make_dream())
    episodes = [_episode(env, 3), _episode(env, None), _episode(env, 3), _episode(env, None), _episode(other, 3)]
    for same in (episodes[2], episodes[4]):
        np.testing.assert_array_equal(episodes[0], same)
    np.testing.assert_array_equal(episodes[1], episodes[3])
    for different in (episodes[1], _episode(env, 4), _episode(DreamEnv(make_dream()), None)):
        assert not np.array_equal(episodes[0], different)


def _episode(env: DreamEnv, seed: int | None) -> np.ndarray:
    return np.array([env.reset(seed=seed)[0], *(env.step(np.array(GO))[0] for _ in range(5))])


def test_a_dream_begins_where_it_is_told_to() -> None:
    dream = make_dream()
    env = DreamEnv(dream)
    for number in (0, 8):
        seen, _ = env.reset(seed=1, options={"start": number})
        noise = stream(1, "dream/env").standard_normal(Z, np.float32)
        expected = dream.starts.means[number].numpy() + np.exp(dream.starts.log_variances[number].numpy() / 2) * noise
        np.testing.assert_allclose(seen, expected, rtol=1e-6)
    state = dream.starts.state.rows(slice(3, 4))
    env.reset(seed=1, options={"state": state})
    for found, given in zip(env.state, state, strict=True):
        assert torch.equal(found, given)
    with pytest.raises(VmcError, match="no recorded moment 9: they are 0 to 8"):
        env.reset(options={"start": 9})


def test_settings_and_state_can_be_changed_between_two_steps() -> None:
    dream = make_dream()
    env, hot = DreamEnv(dream), DreamEnv(dream, temperature=3.0)
    for each in (env, hot):
        each.reset(seed=1)
    env.settings = DreamSettings(temperature=3.0)
    np.testing.assert_array_equal(env.step(np.array(GO))[0], hot.step(np.array(GO))[0])
    env.state = hot.state.map(torch.zeros_like)
    assert not env.render_mode
    assert not env.state[0].any()


def test_pixels_are_vs_picture_of_z(tmp_path: Path) -> None:
    dream = make_dream()
    shown = DreamEnv(dream, observations="pixels", render_mode="rgb_array")
    latent = DreamEnv(dream)
    pixels, z = shown.reset(seed=1)[0], latent.reset(seed=1)[0]
    expected = to_frames(dream.vae.decode(torch.from_numpy(z)[None]))[0]
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(shown.render(), expected)
    assert latent.render() is None


def test_a_time_limit_truncates_and_does_not_terminate() -> None:
    env = gymnasium.make("vmc/Dream-v0", run=make_dream(), max_episode_steps=3)
    env.reset(seed=0)
    action = np.array(GO, np.float32)
    assert [env.step(action)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    env.reset()
    assert env.step(np.array(END, np.float32))[2:4] == (True, False)


def test_m_sees_no_action_that_the_environment_could_not_take() -> None:
    env = DreamEnv(make_dream())
    env.reset(seed=0)
    beyond = env.step(np.array([7.0, -9.0]))[0]
    env.reset(seed=0)
    np.testing.assert_array_equal(beyond, env.step(np.array([1.0, -1.0]))[0])


@pytest.mark.parametrize(("action", "message"), [([0.0], "shape"), ([0.0, np.nan], "NaN")])
def test_actions_that_do_not_fit_are_an_error(action: list[float], message: str) -> None:
    env = DreamEnv(make_dream())
    env.reset(seed=0)
    with pytest.raises(VmcError, match=message):
        env.step(np.array(action))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observations": "latents"}, "Did you mean 'latent'"),
        ({"render_mode": "ansi"}, "rgb_array"),
        ({"temperature": 0.0}, "above 0"),
        ({"run": "nowhere"}, "no checkpoint"),
        ({"run": "nowhere", "device": "abacus"}, "no device 'abacus'"),
    ],
)
def test_what_cannot_be_dreamed_is_an_error(options: dict[str, object], message: str) -> None:
    with pytest.raises(VmcError, match=message):
        DreamEnv(**{"run": make_dream()} | options)  # type: ignore[arg-type]
