"""Many dreams behind Gymnasium's vector interface."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from small_dream import END, GO, drive, make_dream, save_run

from vmc.dream.env import DreamEnv
from vmc.dream.vector_env import DreamVectorEnv
from vmc.errors import VmcError

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]
N = 3


def _actions(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def _step(env: gymnasium.vector.VectorEnv, actions: np.ndarray) -> tuple[Any, ...]:
    """A step; where autoreset is disabled, a reset of what has ended comes first."""
    ended = getattr(env, "_ended" if isinstance(env, DreamVectorEnv) else "_autoreset_envs")
    if env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
        env.reset(options={"reset_mask": ended.copy()})
    return env.step(actions)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("observations", ["latent", "features", "pixels"])
def test_it_is_gymnasiums_own_vector_of_single_dreams(mode: AutoresetMode, observations: str, tmp_path: Path) -> None:
    """The same five-tuples, step for step, over terminations, time limits and resets."""
    save_run(tmp_path)
    options: dict[str, Any] = {"run": tmp_path, "observations": observations, "max_episode_steps": 6}
    ours = gymnasium.make_vec("vmc/Dream-v0", N, **options, autoreset_mode=mode)
    kwargs = {"autoreset_mode": mode}
    theirs = gymnasium.make_vec("vmc/Dream-v0", N, "sync", vector_kwargs=kwargs, **options)
    assert isinstance(ours.unwrapped, DreamVectorEnv)
    for name in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.metadata["autoreset_mode"] is mode
    _assert_same(ours.reset(seed=7), theirs.reset(seed=7))
    for actions in drive(30, N):
        step = _step(ours, actions)
        _assert_same(step, _step(theirs, actions))
        assert step[0] in ours.observation_space


def _assert_same(found: Any, expected: Any) -> None:
    """Equal types and values; products of other batch sizes may be rounded otherwise, pixels included."""
    assert type(found) is type(expected)
    if isinstance(found, tuple):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            _assert_same(ours, theirs)
    elif isinstance(found, dict):
        assert found.keys() == expected.keys()
        for key, value in found.items():
            _assert_same(value, expected[key])
    elif found is not None and found.dtype == object:
        for ours, theirs in zip(found, expected, strict=True):
            _assert_same(ours, theirs)
    elif found is not None:
        assert found.dtype == expected.dtype
        tolerance = 1 if found.dtype == np.uint8 else 1e-4
        np.testing.assert_allclose(found.astype(float), expected.astype(float), atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_an_autoreset_does_not_change_the_neighbours(mode: AutoresetMode) -> None:
    """The middle dream ends early in one run and goes on in the other: the outer two are the same in every bit."""
    runs = []
    for middle in (END, GO):
        env = DreamVectorEnv(N, make_dream(), autoreset_mode=mode, observations="features")
        seen = [env.reset(seed=1)[0]]
        rewards = []
        for t, actions in enumerate(drive(20, N)):
            actions[:, 1] = -0.5
            if t in (2, 9):
                actions[1] = middle
            step = _step(env, actions)
            seen.append(step[0])
            rewards.append(step[1])
        runs.append((np.array(seen), np.array(rewards)))
    outer = [0, 2]
    for ended, went_on in zip(*runs, strict=True):
        np.testing.assert_array_equal(ended[:, outer], went_on[:, outer])
        assert not np.array_equal(ended[:, 1], went_on[:, 1])


def test_next_step_resets_in_place_of_a_step() -> None:
    env = DreamVectorEnv(2, make_dream(), max_episode_steps=4)
    env.reset(seed=0)
    end = env.step(_actions(END, GO))
    assert end[2].tolist() == [True, False]
    fresh = env.step(_actions(END, GO))  # the ended dream's action is ignored
    assert (fresh[1][0], fresh[2][0], fresh[3][0], fresh[4]) == (0.0, False, False, {})
    lengths = [env.step(_actions(GO, GO))[3].tolist() for _ in range(4)]
    # The second reaches its fourth step two steps before the first, and is reset after it.
    assert lengths == [[False, False], [False, True], [False, False], [True, False]]


def test_same_step_shows_the_end_in_the_infos() -> None:
    env, beside = (DreamVectorEnv(2, make_dream(), autoreset_mode=mode) for mode in ("SameStep", "Disabled"))
    env.reset(seed=0)
    beside.reset(seed=0)
    first, ended = env.step(_actions(GO, END)), beside.step(_actions(GO, END))
    assert first[2].tolist() == [False, True]
    np.testing.assert_array_equal(first[4]["final_obs"][1], ended[0][1])
    assert first[4]["final_obs"][0] is None
    assert first[4]["_final_obs"].tolist() == [False, True]
    fresh, _ = beside.reset(options={"reset_mask": np.array([False, True])})
    np.testing.assert_array_equal(first[0], fresh)
    assert env.step(_actions(GO, GO))[4] == {}


def test_disabled_waits_for_a_reset() -> None:
    env = DreamVectorEnv(2, make_dream(), autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    seen = env.step(_actions(END, GO))[0]
    with pytest.raises(VmcError, match="Dream 0 has ended"):
        env.step(_actions(GO, GO))
    fresh, _ = env.reset(options={"reset_mask": np.array([True, False])})
    np.testing.assert_array_equal(fresh[1], seen[1])
    assert not np.array_equal(fresh[0], seen[0])
    env.step(_actions(GO, GO))


def test_a_dream_depends_on_its_seed_and_place_alone() -> None:
    """Dream i of a vector of any size is the single dream of seed + i."""
    many, few = DreamVectorEnv(4, make_dream()), DreamVectorEnv(2, make_dream())
    listed, single = DreamVectorEnv(2, make_dream()), DreamEnv(make_dream())
    seen = [many.reset(seed=5)[0], few.reset(seed=5)[0], listed.reset(seed=[6, 5])[0], single.reset(seed=6)[0]]
    for actions in drive(40, 4):
        actions[:, 1] = -0.5
        np.testing.assert_allclose(seen[0][:2], seen[1], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(seen[0][[1, 0]], seen[2], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(seen[0][1], seen[3], rtol=1e-4, atol=1e-4)
        steps = (many.step(actions), few.step(actions[:2]), listed.step(actions[[1, 0]]), single.step(actions[1]))
        seen = [step[0] for step in steps]


def test_a_mask_with_a_seed_seeds_no_other_dream() -> None:
    runs = []
    for seed in (None, 100):
        env = DreamVectorEnv(2, make_dream())
        env.reset(seed=0)
        fresh, _ = env.reset(seed=seed, options={"reset_mask": np.array([True, False])})
        later = [env.step(_actions(GO, GO))[0] for _ in range(20)]
        later.append(env.reset(options={"reset_mask": np.array([False, True])})[0])
        runs.append(np.array([fresh, *later]))
    np.testing.assert_array_equal(runs[0][:, 1], runs[1][:, 1])
    assert not np.array_equal(runs[0][:, 0], runs[1][:, 0])


def test_what_was_handed_out_is_the_callers() -> None:
    env = DreamVectorEnv(2, make_dream(), render_mode="rgb_array")
    results = [env.reset(seed=0)[0], *(env.step(_actions(GO, GO))[0] for _ in range(3))]
    for before, after in pairwise(results):
        assert not np.shares_memory(before, after)
    results[-1][:] = 1e9
    assert np.abs(env.step(_actions(GO, GO))[0]).max() < 1e6
    frames = env.render()
    assert frames is not None
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 2


def test_misuse_is_an_error() -> None:
    env = DreamVectorEnv(2, make_dream())
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(_actions(GO, GO))
    with pytest.raises(VmcError, match="leaves out dreams that have not begun"):
        env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(VmcError, match="3 seeds for 2 dreams"):
        env.reset(seed=[1, 2, 3])
    env.reset(seed=0)
    for mask in (np.array([1, 0]), np.array([True]), np.array([False, False])):
        with pytest.raises(VmcError, match="reset_mask is"):
            env.reset(options={"reset_mask": mask})
    with pytest.raises(VmcError, match="expects \\(2, 2\\)"):
        env.step(_actions(GO))
    for options in ({"num_envs": 0}, {"max_episode_steps": 0}):
        with pytest.raises(VmcError, match="must be at least 1"):
            DreamVectorEnv(**{"num_envs": 2, "run": make_dream()} | options)  # type: ignore[arg-type]
