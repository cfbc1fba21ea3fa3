"""The fast environment equals the official one, without any tolerance."""

from __future__ import annotations

import os

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")

import pickle

import numpy as np
import pygame
import pytest
from gymnasium.envs.box2d.car_racing import CarRacing
from gymnasium.error import InvalidAction
from situations import SITUATIONS, Pair, drive, run

from vmc.bench.road_follower import RoadFollower
from vmc.envs.carracing import FastCarRacing, matches_official, warm_up
from vmc.envs.carracing.panel import score_text
from vmc.envs.carracing.tables import AXIS_X, AXIS_Y


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    warm_up()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", list(SITUATIONS))
def test_every_frame_is_equal(name: str, seed: int) -> None:
    frames, mismatches = run(name, seed, 250)
    assert mismatches == []
    assert frames >= 250


def test_a_whole_lap_is_equal_and_is_finished() -> None:
    pair = Pair()
    follower = RoadFollower(speed=60.0)
    pair.reset(seed=3)
    finished = any(pair.step(follower(pair.envs[0])) for _ in range(1500))
    assert finished
    assert pair.envs[1].tile_visited_count == len(pair.envs[1].track)
    assert pair.mismatches == []


def test_a_lap_by_percentage_ends_alike() -> None:
    # tile 0 lies under the start, so only a share of 0 is reached when the car touches it
    pair = Pair(lap_complete_percent=0.0)
    pair.reset(seed=3)
    assert pair.step(np.zeros(3, np.float32))
    assert pair.envs[1].new_lap
    assert pair.mismatches == []


def test_selfcheck_passes_and_notices_a_wrong_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert matches_official(frames=20)
    right = FastCarRacing._observe

    def wrong(self: FastCarRacing) -> object:
        picture = right(self)
        picture[50, 50, 1] ^= 1
        return picture

    monkeypatch.setattr(FastCarRacing, "_observe", wrong)
    assert not matches_official(frames=20)


def test_pygame_shrinks_with_the_filter_that_is_reimplemented() -> None:
    assert pygame.transform.get_smoothscale_backend() == "SSE2"


@pytest.mark.parametrize("axis", [AXIS_X, AXIS_Y])
def test_every_source_pixel_belongs_to_one_cell(axis: object) -> None:
    assert axis.start[0] == 0  # type: ignore[attr-defined]
    assert (axis.start[1:] == axis.last[:-1] + 1).all()  # type: ignore[attr-defined]


def test_rgb_array_render_is_the_original_and_does_not_disturb() -> None:
    options = {"render_mode": "rgb_array"}
    pair = Pair(**options)
    drive(pair, np.random.default_rng(5), 30)
    for _ in range(10):
        pair.step(np.array([1.0, 1.0, 0.0], np.float32))
        a, b = (env.render() for env in pair.envs)
        assert np.array_equal(a, b)
    assert pair.mismatches == []


def test_state_pixels_render_equals_the_observation() -> None:
    env = FastCarRacing(render_mode="state_pixels")
    observation, _ = env.reset(seed=1)
    assert np.array_equal(env.render(), observation)


def test_skid_traces_are_kept_for_render() -> None:
    pair = Pair()
    pair.reset(seed=2)
    for _ in range(80):
        pair.step(np.array([-1.0, 1.0, 0.0], np.float32))
    traces = [[(p.color, p.poly, p.grass) for p in env.car.particles] for env in pair.envs]
    assert traces[0] == traces[1]
    assert traces[0]


def test_observations_are_separate_arrays() -> None:
    env = FastCarRacing()
    first, _ = env.reset(seed=0)
    kept = first.copy()
    for _ in range(20):
        second = env.step(np.array([0.5, 1.0, 0.0], np.float32))[0]
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)
    assert first.flags.c_contiguous
    assert first.flags.owndata


def test_two_environments_do_not_disturb_each_other() -> None:
    a, b = FastCarRacing(), FastCarRacing(domain_randomize=True)
    alone = FastCarRacing()
    a.reset(seed=4), b.reset(seed=5), alone.reset(seed=4)
    for _ in range(30):
        action = np.array([0.3, 0.6, 0.0], np.float32)
        b.step(action)
        assert np.array_equal(a.step(action)[0], alone.step(action)[0])


def test_invalid_button_is_refused() -> None:
    env = FastCarRacing(continuous=False)
    env.reset(seed=0)
    with pytest.raises(InvalidAction):
        env.step(7)


def test_a_road_painted_by_hand_is_equal() -> None:
    pair = Pair()
    pair.reset(seed=6)
    for several in (4, 40):
        for env in pair.envs:
            for n, tile in enumerate(env.road):
                tile.color[:] = (n % several, 100, 200)
        for _ in range(3):
            pair.step(np.zeros(3, np.float32))
    for _ in range(3):
        pair.reset()
        pair.step(np.zeros(3, np.float32))
    assert pair.mismatches == []


def test_a_car_at_no_finite_place_is_an_error() -> None:
    for env in (CarRacing(), FastCarRacing()):
        env.reset(seed=0)
        action = np.array([0.0, np.nan, 0.0], np.float32)
        with pytest.raises(ValueError, match="NaN"):
            [env.step(action) for _ in range(5)]


def test_pickles_like_the_original() -> None:
    env = pickle.loads(pickle.dumps(FastCarRacing(continuous=False)))
    assert isinstance(env, FastCarRacing)
    assert not env.continuous


def test_scores_survive_a_restart_of_pygame() -> None:
    before = score_text("0123")[0].copy()
    score_text.cache_clear()
    pygame.quit()
    assert np.array_equal(score_text("0123")[0], before)


def test_the_spaces_are_the_original_ones() -> None:
    for continuous in (True, False):
        a, b = CarRacing(continuous=continuous), FastCarRacing(continuous=continuous)
        assert a.action_space == b.action_space
        assert a.observation_space == b.observation_space
