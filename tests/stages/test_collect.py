from typing import Any

import numpy as np
import pytest
from conftest import TOY, ToyRun, toy_settings

from vmc.envs import action_map_of, make_env
from vmc.errors import VmcError
from vmc.stages.collect import collect
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.rollouts import RolloutDataset


def test_the_data_are_the_same_whatever_the_number_of_workers(tmp_path) -> None:
    fingerprints = set()
    for num_workers in (0, 1, 2):
        data = tmp_path / str(num_workers)
        collect(toy_settings("rollouts", episodes=7), data, None, num_workers)
        fingerprints.add(RolloutDataset(data).fingerprint())
    assert len(fingerprints) == 1


def test_only_the_missing_episodes_are_added(tmp_path) -> None:
    collect(toy_settings("rollouts", episodes=3), tmp_path / "a", None, 0)
    before = {path: path.read_bytes() for path in (tmp_path / "a").glob("*.h5")}
    done = collect(toy_settings("rollouts", episodes=9), tmp_path / "a", None, 0)
    assert (done.added_episodes, done.num_episodes) == (6, 9)
    assert all(path.read_bytes() == content for path, content in before.items())
    collect(toy_settings("rollouts", episodes=9), tmp_path / "b", None, 0)
    assert RolloutDataset(tmp_path / "a").fingerprint() == RolloutDataset(tmp_path / "b").fingerprint()
    # A shard that went missing in the middle is made again.
    next(iter(before)).unlink()
    assert collect(toy_settings("rollouts", episodes=9), tmp_path / "a", None, 0).added_episodes == 3
    assert RolloutDataset(tmp_path / "a").fingerprint() == RolloutDataset(tmp_path / "b").fingerprint()


def test_episodes_of_another_seed_are_told(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    collect(toy_settings("rollouts", episodes=6), tmp_path, None, 0)
    assert not capsys.readouterr().err.startswith(str(tmp_path))
    collect(toy_settings("rollouts", episodes=7, seed=3), tmp_path, None, 0)
    told = capsys.readouterr().err
    assert f"{tmp_path}/episodes-000000-000003.h5 and 1 more hold episodes of seed 0, not 3." in told


def test_replaying_the_recorded_actions_gives_the_recorded_episode(toy_session: ToyRun) -> None:
    """Transitions are aligned, the terminal frame is there, and no reset has crept in."""
    dataset = RolloutDataset(toy_session.data)
    ends = set()
    for stored in dataset.episodes:
        episode = dataset.read(stored)
        env = make_env(TOY)
        frame, _ = env.reset(seed=episode.env_seed)
        np.testing.assert_array_equal(episode.frames[0], frame)
        for t, action in enumerate(episode.actions):
            frame, reward, terminated, truncated, _ = env.step(action)
            np.testing.assert_array_equal(episode.frames[t + 1], frame)
            assert episode.rewards[t] == reward
            assert (terminated or truncated) == (t + 1 == len(episode.actions))
        assert (episode.terminated, episode.truncated) == (terminated, truncated)
        ends.add((terminated, truncated))
    assert len(ends) == 2  # the data set has terminated episodes and truncated ones


def test_actions_are_within_bounds_and_policies_differ(tmp_path) -> None:
    action_map = action_map_of(TOY, make_env(TOY))
    for policy in ("random", "brownian"):
        collect(toy_settings("rollouts", episodes=4, policy=policy), tmp_path / policy, None, 0)
        dataset = RolloutDataset(tmp_path / policy)
        actions = np.concatenate([dataset.read(episode).actions for episode in dataset.episodes])
        assert (actions >= action_map.low).all()
        assert (actions <= action_map.high).all()
    fingerprints = {RolloutDataset(tmp_path / policy).fingerprint() for policy in ("random", "brownian")}
    assert len(fingerprints) == 2


def test_the_data_and_the_models_keep_the_action_map(toy_session: ToyRun) -> None:
    """M and C need no environment to know what C's outputs mean."""
    expected = action_map_of(TOY, make_env(TOY)).to_json()
    assert RolloutDataset(toy_session.data).action_map == expected
    for folder in ("vae", "mdrnn"):
        for name in ("best", "latest"):
            assert load_checkpoint(toy_session.run / folder, name, "").info["action_map"] == expected


def test_a_trained_controller_collects_with_and_without_noise(toy: ToyRun, tmp_path) -> None:
    fingerprints = set()
    for noise in (0.0, 0.0, 1.0):
        data = tmp_path / f"data-{len(list(tmp_path.iterdir()))}"
        settings = toy_settings("rollouts", episodes=4, policy="controller", action_noise=noise)
        collect(settings, data, toy.run, 0)
        dataset = RolloutDataset(data)
        fingerprints.add(dataset.fingerprint())
        policy = next(iter(dataset.sources.values())).policy
        assert policy["name"] == "controller"
        assert policy["action_noise"] == noise
        assert [len(source["controller"]) for source in policy["controllers"]] == [64, 64]  # SHA-256 of best, latest
    assert len(fingerprints) == 2


def test_the_no_reward_limit_ends_an_episode_as_a_truncation(tmp_path) -> None:
    """The toy pays 1 - error^2: a step that is off by more than 1 is one without a positive reward."""
    for folder, limit in (("whole", None), ("cut", 3)):
        settings = toy_settings("rollouts", episodes=12, policy="random", no_reward_limit=limit)
        collect(settings, tmp_path / folder, None, 0)
    whole, cut = (RolloutDataset(tmp_path / folder) for folder in ("whole", "cut"))
    ends = []
    for long, short in zip(whole.episodes, cut.episodes, strict=True):
        rewards, episode = whole.read(long).rewards, cut.read(short)
        poor = (rewards <= 0).astype(int)
        reached = [t for t in range(2, len(rewards)) if poor[t - 2 : t + 1].all()]
        ends.append(bool(reached) and reached[0] + 1 < len(rewards))
        np.testing.assert_array_equal(episode.rewards, rewards[: reached[0] + 1] if reached else rewards)
        if ends[-1]:
            assert (episode.terminated, episode.truncated) == (False, True)
    assert any(ends)
    assert not all(ends)


@pytest.mark.parametrize("name", ["max_steps", "no_reward_limit"])
def test_other_limits_in_one_folder_are_refused(name: str, toy_session: ToyRun) -> None:
    with pytest.raises(VmcError, match=f"with no {name}; now it is 7"):
        collect(toy_settings("rollouts", **{name: 7}), toy_session.data, None, 0)


def test_episodes_without_noise_may_have_other_limits_than_those_with(toy: ToyRun) -> None:
    def collect_more(episodes: int, **values: Any) -> None:
        collect(toy_settings("rollouts", policy="controller", episodes=episodes, **values), toy.data, toy.run, 0)

    collect_more(18, action_noise=0.5, max_steps=9)
    collect_more(22, action_noise=0.0, max_steps=12)
    with pytest.raises(VmcError, match="with max_steps = 9; now it is 12"):
        collect_more(26, action_noise=0.5, max_steps=12)
    lengths = [episode.length for episode in RolloutDataset(toy.data).episodes]
    assert max(lengths[14:18]) <= 9 < max(lengths[18:])


def test_a_folder_of_another_environment_is_refused(toy_session: ToyRun) -> None:
    from vmc.config import make_settings
    from vmc.stages.settings import CollectSettings

    settings = make_settings(CollectSettings, "CarRacing-v3", {"episodes": 50})
    with pytest.raises(VmcError, match=r"Toy-v0; expected CarRacing-v3"):
        collect(settings, toy_session.data, None, 0)
