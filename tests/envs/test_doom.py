"""Take cover, tested with ViZDoom's engine."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import psutil
import pytest
from gymnasium.utils.env_checker import check_env

from vmc.envs import TAKE_COVER, action_map_of, get_task, make_env
from vmc.episode import EpisodeResult, Trajectory, run_episode
from vmc.errors import VmcError
from vmc.policies import RandomPolicy

vizdoom = pytest.importorskip("vizdoom")
doom = pytest.importorskip("vmc.envs.doom")

SMALL = doom.EngineSettings(resolution=(160, 120))


@pytest.fixture(scope="module")
def env() -> Iterator[gym.Env[Any, Any]]:
    """The environment as the pipeline makes it."""
    made = make_env(TAKE_COVER)
    yield made
    made.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    made = doom.TakeCover(SMALL)
    yield made
    made.close()


def _act(value: float) -> npt.NDArray[np.float32]:
    return np.array([value], np.float32)


def _recorded(env: gym.Env[Any, Any], seed: int) -> tuple[EpisodeResult, Trajectory]:
    trajectory = Trajectory()
    policy = RandomPolicy(action_map_of(TAKE_COVER, env))
    return run_episode(env, policy, seed, np.random.default_rng(seed), trajectory=trajectory), trajectory


def _moved_left(engine: Any, action: float) -> float:
    """The distance that the player moves to its left in 10 tics, in map units."""

    def place() -> tuple[float, float]:
        x, y = (getattr(vizdoom.GameVariable, f"POSITION_{axis}") for axis in "XY")
        return engine.game.get_game_variable(x), engine.game.get_game_variable(y)

    engine.reset(seed=0)
    angle = math.radians(engine.game.get_game_variable(vizdoom.GameVariable.ANGLE))
    start = place()
    for _ in range(10):
        engine.step(_act(action))
    end = place()
    return (start[0] - end[0]) * math.sin(angle) + (end[1] - start[1]) * math.cos(angle)


@pytest.mark.parametrize("action", [-1, -0.5, -0.34])
def test_below_minus_a_third_moves_left(engine: Any, action: float) -> None:
    assert _moved_left(engine, action) > 20


@pytest.mark.parametrize("action", [0.34, 0.5, 1])
def test_above_a_third_moves_right(engine: Any, action: float) -> None:
    assert _moved_left(engine, action) < -20


@pytest.mark.parametrize("action", [-0.33, 0, 0.33])
def test_between_the_thresholds_it_stays(engine: Any, action: float) -> None:
    assert _moved_left(engine, action) == 0


def test_the_picture_agrees_about_left_and_right(engine: Any) -> None:
    """The picture shifts to the right when the player moves to the left."""
    before = engine.reset(seed=0)[0]
    for _ in range(4):
        after = engine.step(_act(-1))[0]
    rows = slice(40, 62)  # the far wall, its corners and the imps

    def difference(shift: int) -> float:
        return float(np.abs(np.roll(before[rows], shift, 1).astype(int) - after[rows])[:, 20:-20].mean())

    assert min(range(-12, 13), key=difference) > 0


def test_one_step_is_one_tic_and_earns_one(engine: Any) -> None:
    engine.reset(seed=3)
    start = engine.game.get_episode_time()
    rewards = [engine.step(_act(0))[1] for _ in range(25)]
    assert rewards == [1.0] * 25
    assert (start, engine.game.get_episode_time()) == (14, 14 + 25)


def test_only_death_terminates_and_the_return_is_the_length(env: gym.Env[Any, Any]) -> None:
    outcome, trajectory = _recorded(env, 5)
    assert (outcome.terminated, outcome.truncated) == (True, False)
    assert outcome.episode_return == outcome.episode_length == len(trajectory.actions) > 30


def test_the_terminal_frame_is_the_last_real_one(env: gym.Env[Any, Any]) -> None:
    _, trajectory = _recorded(env, 6)
    np.testing.assert_array_equal(trajectory.frames[-1], trajectory.frames[-2])
    assert trajectory.frames[-1].mean() > 40


def test_the_limit_is_counted_by_us() -> None:
    limited = gym.make("vmc/VizdoomTakeCover-v1", max_episode_steps=20, settings=SMALL)
    limited.reset(seed=0)
    flags = [limited.step(_act(0))[2:4] for _ in range(20)]
    assert flags == [(False, False)] * 19 + [(False, True)]
    limited.close()


def test_the_limit_is_a_minute(env: gym.Env[Any, Any]) -> None:
    assert env.spec is not None
    assert env.spec.max_episode_steps == 2100 == 60 * vizdoom.DEFAULT_TICRATE
    assert env.unwrapped.game.get_episode_timeout() == 0  # type: ignore[attr-defined]


def test_an_episode_depends_on_seed_and_actions_alone(env: gym.Env[Any, Any]) -> None:
    largest = 2**31 - 1
    first, others = _recorded(env, largest), [_recorded(env, seed) for seed in (0, largest - 1)]
    fresh = make_env(TAKE_COVER)
    for again in (_recorded(env, largest), _recorded(fresh, largest)):
        assert again[0] == first[0]
        np.testing.assert_array_equal(again[1].frames, first[1].frames)
    assert len({first[0].episode_length, *(outcome.episode_length for outcome, _ in others)}) == 3
    fresh.close()


def test_without_a_seed_episodes_go_on_from_the_last_one(engine: Any) -> None:
    def lengths() -> list[int]:
        policy, rng = RandomPolicy(action_map_of(TAKE_COVER, engine)), np.random.default_rng(0)
        found = []
        for seed in (7, None, None):
            engine.reset(seed=seed)
            policy.reset(rng)
            length, over = 0, False
            while not over:
                over, length = engine.step(policy.act(None).action)[2], length + 1  # type: ignore[arg-type]
            found.append(length)
        return found

    first = lengths()
    assert first == lengths()
    assert len(set(first)) == 3


# Gymnasium warns about bounds other than -1 and 1, and about the missing render mode.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_gymnasiums_own_check_passes(engine: Any) -> None:
    check_env(engine, skip_render_check=True)


def test_frames_are_what_the_paper_saw(env: gym.Env[Any, Any]) -> None:
    assert env.reset(seed=0)[0].shape == (64, 64, 3)
    task = get_task(TAKE_COVER)
    assert (task.latent_size, task.hidden_size, task.crop_rows) == (64, 512, 400)
    assert get_task("vmc/VizdoomTakeCover-v1") is task


def test_the_crop_is_the_status_bar(env: gym.Env[Any, Any]) -> None:
    """The bar (from row 403) stays the same while the wall and the floor move; the original crops at 400."""
    whole = env.unwrapped
    before = whole.reset(seed=0)[0]
    for _ in range(20):
        after = whole.step(_act(-1))[0]
    changed = (before != after).any(axis=2).mean(axis=1)
    assert changed[380:403].min() > 0.2
    assert changed[403:].max() < 0.2


def test_an_action_squash_fills_the_box(env: gym.Env[Any, Any]) -> None:
    action_map = action_map_of(TAKE_COVER, env)
    np.testing.assert_allclose(action_map(np.array([[-9], [0], [9]])), [[-1], [0], [1]], atol=1e-6)


@pytest.mark.parametrize("name", [TAKE_COVER, "vmc/VizdoomTakeCover-v1"])
def test_without_the_extra_the_command_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "vmc.envs.doom")
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(VmcError, match=r"ViZDoom is not installed[^']*pip install '\.\[doom\]'"):
        make_env(name)


def test_a_misspelt_name_finds_it() -> None:
    with pytest.raises(VmcError, match=f"Did you mean {TAKE_COVER}"):
        make_env("VizdoomTakeCover-v2")


def test_a_temporary_folder_that_runs_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    with pytest.raises(VmcError, match="does not allow programs"):
        make_env(TAKE_COVER)
    assert list(tmp_path.iterdir()) == []


_ALONE = f"""
import time
from vmc.envs import make_env
env = make_env({TAKE_COVER!r})
print(flush=True)
time.sleep(0.5)
"""
_ENDINGS: dict[str, tuple[str, Callable[[int], None]]] = {
    "closed": ("env.close()", lambda pid: None),
    "killed": ("time.sleep(60)", lambda pid: os.kill(pid, signal.SIGKILL)),
    "whole group terminated": ("time.sleep(60)", lambda pid: os.killpg(pid, signal.SIGTERM)),
}


@pytest.mark.skipif(sys.platform == "win32", reason="the cleanup is a shell script")
@pytest.mark.parametrize("ending", _ENDINGS)
def test_nothing_is_left_behind(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every kind of end there is no engine, no temporary folder, and no file in the working folder."""
    scratch, here = tmp_path / "scratch", tmp_path / "here"
    scratch.mkdir()
    here.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    last_line, end = _ENDINGS[ending]
    program = [sys.executable, "-c", _ALONE + last_line]
    with subprocess.Popen(program, stdout=subprocess.PIPE, cwd=here, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        assert "vizdoom" in [child.name() for child in family]
        end(process.pid)
        process.wait(20)
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert list(scratch.glob("vmc-doom-*")) == []
    assert list(here.iterdir()) == []
