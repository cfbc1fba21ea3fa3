"""Latents on disk belong to one V and one data set; other latents are not read."""

from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmc.storage.latents import Latents, join, read_latents, write_latents
from vmc.storage.rollouts import StoredEpisode, split_validation

LENGTHS = [3, 1, 5, 2]
DIGESTS = [f"{number:064x}" for number in range(4)]


def _latents() -> Latents:
    rng = np.random.default_rng(0)
    steps, episodes = sum(LENGTHS), len(LENGTHS)
    return Latents(
        means=rng.normal(size=(steps + episodes, 4)).astype(np.float32),
        log_variances=rng.normal(size=(steps + episodes, 4)).astype(np.float32),
        actions=rng.normal(size=(steps, 2)).astype(np.float32),
        rewards=rng.normal(size=steps).astype(np.float32),
        index=np.array([0, 3, 4, 13]),
        lengths=np.array(LENGTHS),
        terminated=np.array([True, False, False, True]),
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an intact file of latents."""
    path = tmp_path_factory.mktemp("latents") / "latents.h5"
    write_latents(path, _latents(), "vae", DIGESTS)
    return path.read_bytes()


def test_latents_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "run" / "latents.h5"
    write_latents(path, _latents(), "vae", DIGESTS)
    found = read_latents(path, "vae")
    assert found is not None
    latents, digests = found
    _assert_equal(latents, _latents())
    assert digests == DIGESTS
    assert [child.name for child in path.parent.iterdir()] == ["latents.h5"]


def _assert_equal(found: Latents, expected: Latents) -> None:
    for field in fields(Latents):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_episodes_taken_apart_and_joined_are_as_they_were() -> None:
    whole = _latents()
    episodes = [whole.episode(position) for position in range(4)]
    assert [len(episode.means) for episode in episodes] == [4, 2, 6, 3]
    _assert_equal(join(episodes), whole)
    _assert_equal(join([join(episodes[2:]), *episodes[:2]]), join([*episodes[2:], *episodes[:2]]))


def test_more_steps_than_a_chunk_come_back_as_they_were(tmp_path: Path) -> None:
    means = np.arange(10_001, dtype=np.float32)[:, None]
    actions = means[1:]
    one = np.array([10_000])
    latents = Latents(means, means, actions, actions[:, 0], np.array([0]), one, np.array([False]))
    write_latents(tmp_path / "latents.h5", latents, "vae", DIGESTS[:1])
    found = read_latents(tmp_path / "latents.h5", "vae")
    assert found is not None
    np.testing.assert_array_equal(found[0].means, means)
    np.testing.assert_array_equal(found[0].actions, actions)


@pytest.mark.parametrize("vae", ["other", "VAE", ""])
def test_latents_of_another_v_are_none(vae: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "latents.h5").write_bytes(content)
    assert read_latents(tmp_path / "latents.h5", "vae") is not None
    assert read_latents(tmp_path / "latents.h5", vae) is None


def test_latents_of_another_schema_are_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "latents.h5"
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = 99
    assert read_latents(path, "vae") is None


def test_absent_latents_are_none(tmp_path: Path) -> None:
    assert read_latents(tmp_path / "latents.h5", "vae") is None


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_latents_cut_off_anywhere_are_none(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "latents.h5"
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert read_latents(path, "vae") is None


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from([field.name for field in fields(Latents)]),
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_latents_with_a_flipped_bit_are_none(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, name: str, place: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "latents.h5"
    path.write_bytes(content)
    with h5py.File(path, "r") as file:
        chunk = file[name].id.get_chunk_info(0)
    damaged = bytearray(content)
    damaged[chunk.byte_offset + int(place * chunk.size)] ^= 1 << bit
    path.write_bytes(damaged)
    assert read_latents(path, "vae") is None


@pytest.mark.parametrize("name", [field.name for field in fields(Latents)])
def test_latents_with_a_part_missing_are_none(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "latents.h5"
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        del file[name]
    assert read_latents(path, "vae") is None


@pytest.mark.parametrize("text", [b"", b"nothing like HDF5"])
def test_a_foreign_file_is_none(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "latents.h5"
    path.write_bytes(text)
    assert read_latents(path, "vae") is None


def test_replacing_stale_latents(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "latents.h5"
    path.write_bytes(content)
    write_latents(path, replace(_latents(), rewards=_latents().rewards + 1), "new vae", DIGESTS)
    assert read_latents(path, "vae") is None
    found = read_latents(path, "new vae")
    assert found is not None
    np.testing.assert_array_equal(found[0].rewards, _latents().rewards + 1)


def test_where_episodes_begin() -> None:
    """Each episode has one frame more than steps."""
    np.testing.assert_array_equal(_latents().first_steps(), [0, 3, 4, 9])
    np.testing.assert_array_equal(_latents().first_frames(), [0, 4, 6, 12])


def test_the_validation_episodes_are_those_of_v() -> None:
    """Otherwise M would be validated on frames that V was trained on."""
    index = np.arange(47)[::-1].copy()
    latents = replace(_latents(), index=index)
    stored = [StoredEpisode(int(i), Path("x"), 0, 0, 1, 0, True, False, "", 0.0) for i in index]
    training, validation = split_validation(stored)
    assert index[latents.training()].tolist() == [episode.index for episode in training]
    assert index[latents.validation()].tolist() == [episode.index for episode in validation]


@settings(deadline=None)
@given(st.lists(st.sampled_from([-0.1, 0.0, 3.3]), min_size=11, max_size=11), st.integers(1, 8))
def test_dreams_are_over_at_terminations_and_in_long_stretches_without_reward(rewards: list[float], least: int) -> None:
    latents = replace(_latents(), rewards=np.array(rewards, np.float32))
    expected = []
    for position, length in enumerate(LENGTHS):
        unpaid = [reward <= 0 for reward in latents.episode(position).rewards]
        for t in range(length):
            before = next((k for k in range(t, -1, -1) if not unpaid[k]), -1)
            after = next((k for k in range(t, length) if not unpaid[k]), length)
            is_last_of_terminated = t + 1 == length and bool(latents.terminated[position])
            lost = unpaid[t] and after - before - 1 >= least and t - before - 1 >= least // 4
            expected.append(is_last_of_terminated or lost)
    assert latents.termination_labels(least).tolist() == expected
    assert latents.termination_labels(None).nonzero()[0].tolist() == [2, 10]  # only the real terminations
