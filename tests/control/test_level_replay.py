import numpy as np
import pytest

from vmc.control.level_replay import LevelReplay

SEEDS = [11, 12, 13, 14]


def _replay() -> LevelReplay:
    replay = LevelReplay()
    replay.note(SEEDS, [5.0, -3.0, 7.0, 1.0], generation=1)
    return replay


def test_the_hardest_episodes_come_most_often() -> None:
    """1,000 draws of one of four: by rank 12/25, 6/25, 4/25, 3/25; a share is off by 0.06 once in 10,000 runs."""
    replay, rng = _replay(), np.random.default_rng(0)
    drawn = [replay.draw(1, rng)[0] for _ in range(1000)]
    shares = [drawn.count(seed) / 1000 for seed in (12, 14, 11, 13)]
    assert shares == pytest.approx([12 / 25, 6 / 25, 4 / 25, 3 / 25], abs=0.06)


def test_draws_are_different_and_no_more_than_there_are() -> None:
    replay = _replay()
    assert sorted(replay.draw(9, np.random.default_rng(0))) == SEEDS
    assert LevelReplay().draw(2, np.random.default_rng(0)) == []


def test_the_last_return_counts() -> None:
    replay = _replay()
    replay.note([12], [100.0], generation=2)
    drawn = [replay.draw(1, np.random.default_rng(number))[0] for number in range(200)]
    assert drawn.count(14) > drawn.count(12)


def test_old_episodes_are_forgotten() -> None:
    replay = _replay()
    replay.note([15], [0.0], generation=15)
    assert len(replay.draw(9, np.random.default_rng(0))) == 5
    replay.note([15], [0.0], generation=16)
    assert replay.draw(9, np.random.default_rng(0)) == [15]


def test_a_restored_replay_draws_the_same() -> None:
    replay, other = _replay(), LevelReplay()
    other.restore(replay.array())
    draws = [each.draw(3, np.random.default_rng(5)) for each in (replay, other)]
    assert draws[0] == draws[1]
    other.restore(LevelReplay().array())
    assert other.draw(1, np.random.default_rng(0)) == []
