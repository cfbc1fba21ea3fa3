"""Episodes on disk are read as they were written, and damaged files give errors."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmc.errors import VmcError
from vmc.storage.rollouts import (
    Episode,
    RolloutDataset,
    Source,
    StoredEpisode,
    check_env_matches,
    present_indices,
    shard_path,
    split_validation,
    write_shard,
)

ACTION_MAP = {"offset": [0.0], "scale": [1.0], "low": [-1.0], "high": [1.0]}
SOURCE = Source("vmc/Toy-v0", "area-64-v1", ACTION_MAP, {"name": "random", "max_steps": None}, 3)


def make_episode(index: int, length: int | None = None) -> Episode:
    """An episode of a few steps with different frames."""
    rng = np.random.default_rng(index)
    length = length or int(rng.integers(1, 5))
    frames = np.zeros((length + 1, 64, 64, 3), np.uint8)
    frames[:, ::8, ::8] = rng.integers(0, 256, (length + 1, 8, 8, 3))
    actions = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
    return Episode(index, 1000 + index, frames, actions, rng.normal(size=length), index % 2 == 0, index % 3 == 0)


def _same(one: Episode, other: Episode) -> bool:
    arrays = ("frames", "actions", "rewards")
    for name in arrays:
        assert getattr(one, name).dtype == getattr(other, name).dtype
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and (
        (one.index, one.env_seed, one.terminated, one.truncated)
        == (other.index, other.env_seed, other.terminated, other.truncated)
    )


def _read_all(directory: Path) -> list[Episode]:
    dataset = RolloutDataset(directory)
    try:
        return [dataset.read(episode) for episode in dataset.episodes]
    finally:
        dataset.close()


@pytest.mark.parametrize("shards", [[[0, 1, 2, 3, 4]], [[0, 1], [2], [3, 4]], [[4, 0], [3, 1, 2]]])
def test_what_is_written_is_read_in_the_order_of_the_numbers(shards: list[list[int]], tmp_path: Path) -> None:
    for indices in shards:
        write_shard(tmp_path, [make_episode(index) for index in indices], SOURCE)
    found = _read_all(tmp_path)
    assert [episode.index for episode in found] == [0, 1, 2, 3, 4]
    assert all(_same(episode, make_episode(episode.index)) for episode in found)


def _vector_episode(index: int) -> Episode:
    episode = make_episode(index)
    frames = np.random.default_rng(index).normal(size=(len(episode.frames), 5)).astype(np.float32)
    return replace(episode, frames=frames)


def test_vectors_are_kept_as_they_are(tmp_path: Path) -> None:
    for index in (0, 1):
        write_shard(tmp_path, [_vector_episode(index)], SOURCE)
    assert all(_same(episode, _vector_episode(episode.index)) for episode in _read_all(tmp_path))
    kind = RolloutDataset(tmp_path).frame_kind
    assert (kind.shape, kind.dtype, kind.num_bytes) == ((5,), "float32", 20)


def test_pictures_and_vectors_do_not_mix(tmp_path: Path) -> None:
    write_shard(tmp_path, [_vector_episode(0)], SOURCE)
    write_shard(tmp_path, [make_episode(1)], SOURCE)
    with pytest.raises(VmcError, match="mixes episodes of frames float32"):
        RolloutDataset(tmp_path)


def test_what_is_small_is_known_without_reading(tmp_path: Path) -> None:
    path = write_shard(tmp_path, [make_episode(7), make_episode(8)], SOURCE)
    assert path == shard_path(tmp_path, [7, 8])
    dataset = RolloutDataset(tmp_path)
    assert (dataset.env, dataset.preprocessing, dataset.sources) == (SOURCE.env, SOURCE.preprocessing, {path: SOURCE})
    assert dataset.action_map == ACTION_MAP
    assert dataset.num_frames == sum(len(make_episode(index).frames) for index in (7, 8))
    for stored in dataset.episodes:
        episode = make_episode(stored.index)
        assert stored.length == len(episode.rewards)
        assert stored.episode_return == pytest.approx(episode.rewards.sum())
        assert stored.digest == episode.digest()
        assert (stored.env_seed, stored.terminated, stored.truncated) == (
            episode.env_seed,
            episode.terminated,
            episode.truncated,
        )
    assert present_indices(tmp_path) == {7, 8}


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(5)), st.integers(1, 4))
def test_the_fingerprint_does_not_depend_on_the_shards(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cut: int
) -> None:
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    write_shard(one, [make_episode(index) for index in range(5)], SOURCE)
    for part in (order[:cut], order[cut:]):
        write_shard(other, [make_episode(index) for index in part], SOURCE)
    assert RolloutDataset(one).fingerprint() == RolloutDataset(other).fingerprint()


@pytest.mark.parametrize("field", ["frames", "actions", "rewards", "env_seed", "terminated", "truncated", "index"])
def test_the_fingerprint_depends_on_all_that_is_learnt_from(field: str, tmp_path: Path) -> None:
    episode = make_episode(1)
    value = getattr(episode, field)
    changed = not value if isinstance(value, bool) else value + np.uint8(1) if field == "frames" else value + 1
    other = replace(episode, **{field: changed})
    write_shard(tmp_path / "a", [episode], SOURCE)
    write_shard(tmp_path / "b", [other], SOURCE)
    write_shard(tmp_path / "c", [episode], replace(SOURCE, env="another"))
    fingerprints = {RolloutDataset(tmp_path / name).fingerprint() for name in "abc"}
    assert len(fingerprints) == 3


def _is_open(path: Path) -> bool:
    found = h5py.h5f.get_obj_ids(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)
    return any(h5py.h5f.get_name(identifier) == str(path).encode() for identifier in found)


def test_many_shards_are_read_with_few_open_files(tmp_path: Path) -> None:
    for index in range(20):
        write_shard(tmp_path, [make_episode(index, 1)], SOURCE)
    dataset = RolloutDataset(tmp_path)
    for _ in range(2):
        for stored in dataset.episodes:
            assert _same(dataset.read(stored), make_episode(stored.index, 1))
    assert len({path for path in tmp_path.iterdir() if _is_open(path)}) <= 16
    dataset.close()
    assert not any(_is_open(path) for path in tmp_path.iterdir())
    assert _same(dataset.read(dataset.episodes[0]), make_episode(0, 1))  # the file opens again after `close`
    dataset.close()


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of an intact shard of three episodes."""
    directory = tmp_path_factory.mktemp("whole")
    return write_shard(directory, [make_episode(index) for index in range(3)], SOURCE).read_bytes()


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[bytes], Path]:
    """A function that writes a damaged shard beside an intact one and returns its path."""
    write_shard(tmp_path, [make_episode(9)], SOURCE)

    def put(data: bytes) -> Path:
        path = tmp_path / "episodes-000000-000002.h5"
        path.write_bytes(data)
        return path

    return put


def _assert_refused(path: Path, match: str = "") -> None:
    with pytest.raises(VmcError, match=f"{path} .*{match}") as caught:
        _read_all(path.parent)
    assert "vmc rollouts" in str(caught.value)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_shard_cut_off_anywhere_is_refused(
    shard: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "episodes-000000-000002.h5"
    path.write_bytes(shard[: data.draw(st.integers(0, len(shard) - 1))])
    _assert_refused(path)


@pytest.mark.parametrize("content", [b"", b"not HDF5 at all", b"\x89HDF\r\n\x1a\n" + bytes(2000)])
def test_a_file_that_is_no_hdf5_is_refused(content: bytes, damaged: Callable[[bytes], Path]) -> None:
    _assert_refused(damaged(content), "cannot be read")


def test_hdf5_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weather.h5"
    with h5py.File(path, "w") as file:
        file["temperature"] = np.arange(5)
    _assert_refused(path, "is not a vmc shard")


@settings(deadline=None, max_examples=60)
@given(number=st.integers(0, 3), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_in_a_frame_is_refused(
    shard: bytes, tmp_path_factory: pytest.TempPathFactory, number: int, place: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "episodes-000000-000002.h5"
    path.write_bytes(shard)
    with h5py.File(path, "r") as file:
        frames = file["frames"].id
        chunk = frames.get_chunk_info(number % frames.get_num_chunks())
    data = bytearray(shard)
    data[chunk.byte_offset + int(place * chunk.size)] ^= 1 << bit
    path.write_bytes(data)
    _assert_refused(path, "cannot be read")


@pytest.mark.parametrize("name", ["actions", "rewards"])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.9])
def test_a_flipped_bit_in_actions_or_rewards_is_refused(
    shard: bytes, damaged: Callable[[bytes], Path], name: str, place: float
) -> None:
    with h5py.File(damaged(shard), "r") as file:
        chunk = file[name].id.get_chunk_info(0)
    data = bytearray(shard)
    data[chunk.byte_offset + int(place * chunk.size)] ^= 4
    _assert_refused(damaged(bytes(data)), "cannot be read")


def _edit(path: Path, change: Callable[[h5py.File], Any]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


NAMES = ["frames", "actions", "rewards", "index", "lengths", "env_seeds", "terminated", "truncated", "digests"]


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_data_set_is_named(name: str, shard: bytes, damaged: Callable[[bytes], Path]) -> None:
    path = damaged(shard)
    _edit(path, lambda file: file.__delitem__(name))
    _assert_refused(path, f"has no data set '{name}'")


@pytest.mark.parametrize("name", ["schema", "env", "preprocessing", "action_map", "policy", "seed"])
def test_a_missing_attribute_is_named(name: str, shard: bytes, damaged: Callable[[bytes], Path]) -> None:
    path = damaged(shard)
    _edit(path, lambda file: file.attrs.__delitem__(name))
    _assert_refused(path, f"no attribute '{name}'")


def test_another_schema_is_told(shard: bytes, damaged: Callable[[bytes], Path]) -> None:
    path = damaged(shard)
    _edit(path, lambda file: file.attrs.__setitem__("schema", 99))
    _assert_refused(path, "has schema 99, and this vmc reads 2")


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_of_a_wrong_length_is_named(name: str, shard: bytes, damaged: Callable[[bytes], Path]) -> None:
    def shorten(file: h5py.File) -> None:
        values = file[name][:-1]
        del file[name]
        file[name] = values

    path = damaged(shard)
    _edit(path, shorten)
    _assert_refused(path, "where its lengths ask for")


@pytest.mark.parametrize("change", [1, -1])
def test_lengths_that_do_not_add_up_are_refused(change: int, shard: bytes, damaged: Callable[[bytes], Path]) -> None:
    path = damaged(shard)
    _edit(path, lambda file: file["lengths"].__setitem__(1, file["lengths"][1] + change))
    _assert_refused(path, "where its lengths ask for")


def test_a_length_below_one_is_refused(shard: bytes, damaged: Callable[[bytes], Path]) -> None:
    """The sum of the lengths is correct, but one length is negative."""
    path = damaged(shard)

    def shift(file: h5py.File) -> None:
        lengths = file["lengths"][:]
        file["lengths"][:] = [lengths[0] + lengths[1] + 1, -1, lengths[2]]

    _edit(path, shift)
    _assert_refused(path)


@pytest.mark.parametrize("name", ["actions", "rewards"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(
    name: str, value: float, shard: bytes, damaged: Callable[[bytes], Path]
) -> None:
    path = damaged(shard)
    _edit(path, lambda file: file[name].__setitem__(1, value))
    _assert_refused(path, f"holds {name} that are NaN or infinite")


def test_frames_of_another_shape_are_refused(shard: bytes, damaged: Callable[[bytes], Path]) -> None:
    def shrink(file: h5py.File) -> None:
        frames = file["frames"][:, ::2, ::2]
        del file["frames"]
        file["frames"] = frames

    path = damaged(shard)
    _edit(path, shrink)
    _assert_refused(path)


def test_a_group_in_the_place_of_a_data_set_is_refused(shard: bytes, damaged: Callable[[bytes], Path]) -> None:
    def swap(file: h5py.File) -> None:
        del file["lengths"]
        file.create_group("lengths")

    path = damaged(shard)
    _edit(path, swap)
    _assert_refused(path)


def test_an_episode_that_stands_twice_is_refused(tmp_path: Path) -> None:
    one = write_shard(tmp_path, [make_episode(1), make_episode(2)], SOURCE)
    other = write_shard(tmp_path, [make_episode(2), make_episode(3)], SOURCE)
    with pytest.raises(VmcError, match="Episode 2 is both in") as caught:
        RolloutDataset(tmp_path)
    assert str(one) in str(caught.value)
    assert str(other) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"), [("env", "another"), ("preprocessing", "another"), ("action_map", {"one_hot": 3})]
)
def test_a_mixed_folder_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    write_shard(tmp_path, [make_episode(1)], SOURCE)
    write_shard(tmp_path, [make_episode(2)], replace(SOURCE, **{field: value}))
    what, other = field.replace("_", " "), "one_hot" if field == "action_map" else "another"
    with pytest.raises(VmcError, match=rf"{tmp_path} mixes episodes of {what} .*{other}"):
        RolloutDataset(tmp_path)


def test_an_empty_folder_names_the_command(tmp_path: Path) -> None:
    assert present_indices(tmp_path) == set()
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(VmcError, match=f"no episodes in {directory}") as caught:
            RolloutDataset(directory)
        assert "vmc rollouts" in str(caught.value)


def test_a_writer_that_was_killed_leaves_nothing_that_is_read(tmp_path: Path, shard: bytes) -> None:
    write_shard(tmp_path, [make_episode(9)], SOURCE)
    (tmp_path / "episodes-000000-000002.h5.123.partial").write_bytes(shard[:500])
    assert present_indices(tmp_path) == {9}


@pytest.mark.parametrize(("env", "preprocessing"), [("CarRacing-v3", "area-64-v1"), ("vmc/Toy-v0", "area-64-v2")])
def test_the_wrong_environment_or_preprocessing_is_told(env: str, preprocessing: str, tmp_path: Path) -> None:
    write_shard(tmp_path, [make_episode(1)], SOURCE)
    dataset = RolloutDataset(tmp_path)
    check_env_matches(dataset, SOURCE.env, [SOURCE.preprocessing])
    with pytest.raises(VmcError, match=f"{tmp_path} holds episodes of") as caught:
        check_env_matches(dataset, env, [preprocessing])
    assert "--env" in str(caught.value)


def _stored(indices: list[int]) -> list[StoredEpisode]:
    return [StoredEpisode(index, Path("x"), 0, 0, 1, 0, True, False, "", 0.0) for index in indices]


@settings(deadline=None)
@given(st.sets(st.integers(0, 300), min_size=1), st.sets(st.integers(0, 300)))
def test_an_episode_stays_on_its_side_when_the_data_grow(before: set[int], added: set[int]) -> None:
    before |= {3, 4}
    sides = []
    for indices in (before, before | added):
        training, validation = split_validation(_stored(sorted(indices)))
        sides.append(({episode.index for episode in training}, {episode.index for episode in validation}))
        assert sides[-1][0] | sides[-1][1] == indices
        assert not sides[-1][0] & sides[-1][1]
    assert sides[0][0] <= sides[1][0]
    assert sides[0][1] <= sides[1][1]


def test_a_tenth_is_for_validation() -> None:
    training, validation = split_validation(_stored(list(range(200))))
    assert (len(training), len(validation)) == (180, 20)


@pytest.mark.parametrize("indices", [[], [0, 1, 2], [3], [3, 13]])
def test_too_few_episodes_to_split_are_refused(indices: list[int]) -> None:
    with pytest.raises(VmcError, match="too few"):
        split_validation(_stored(indices))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from vmc.errors import VmcError
from vmc.storage.latents import Latents, write_latents
from vmc.storage.rollouts import Episode, Source, write_shard

folder, kind, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(0)
frames = rng.integers(0, 256, (8, 64, 64, 3), np.uint8)
episode = Episode(0, 0, frames, np.zeros((7, 1), np.float32), np.zeros(7), True, False)
steps, floats = np.array([999]), rng.normal(size=(1000, 8)).astype(np.float32)
latents = Latents(floats, floats, floats[1:], floats[1:, 0], np.array([0]), steps, np.array([True]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    if kind == "rollouts":
        write_shard(folder, [episode], Source("a", "b", {}, {}, 0))
    else:
        write_latents(folder / "latents.h5", latents, "v", ["d"])
except VmcError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["rollouts", "latents"])
@pytest.mark.parametrize("limit", [1000, 60_000])
def test_running_out_of_room_is_told_and_the_process_lives(kind: str, limit: int, tmp_path: Path) -> None:
    """A limit on the size of files acts as a full disk. HDF5 crashes at exit if it cannot flush a file."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), kind, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert f"Cannot write {tmp_path}" in done.stdout
    assert done.stderr == ""
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []
