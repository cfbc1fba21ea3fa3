"""Batches of frames for V: an epoch gives every full batch once, from memory or through a bounded buffer."""

import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmc.storage.frames import (
    FrameBatches,
    FramesInMemory,
    FramesStreamed,
    frame_bytes,
    num_frames,
    read_all_frames,
    sample_frames,
)
from vmc.storage.rollouts import FrameKind, RolloutDataset, StoredEpisode

FRAME_BYTES = 64 * 64 * 3


class FakeDataset:
    """A data set in which each frame holds its own number; it counts the frames that are read."""

    frame_kind = FrameKind((64, 64, 3), "uint8")

    def __init__(self, lengths: list[int]) -> None:
        self.episodes = []
        self._firsts = []
        first = 0
        for index, length in enumerate(lengths):
            self.episodes.append(StoredEpisode(index, Path("x"), 0, 0, length, 0, True, False, "", 0.0))
            self._firsts.append(first)
            first += length + 1
        self.num_frames = first
        self.frames_read = 0
        self._lock = threading.Lock()

    def frames(self, episode: StoredEpisode) -> npt.NDArray[np.uint8]:
        with self._lock:
            self.frames_read += episode.length + 1
        numbers = self._firsts[episode.index] + np.arange(episode.length + 1)
        frames = np.zeros((len(numbers), 64, 64, 3), np.uint8)
        frames[:, 0, 0, 0], frames[:, 0, 0, 1] = numbers % 256, numbers // 256
        return frames


def _numbers(batch: npt.NDArray[np.uint8]) -> list[int]:
    assert batch.shape[1:] == (64, 64, 3)
    assert batch.dtype == np.uint8
    return [int(low) + 256 * int(high) for low, high in batch[:, 0, 0, :2]]


def _epoch(batches: FrameBatches, epoch: int, first_batch: int = 0) -> list[list[int]]:
    return [_numbers(batch) for batch in batches.epoch(epoch, first_batch)]


def _make(kind: str, dataset: FakeDataset, batch_size: int, seed: int = 0, buffer_frames: int = 20) -> FrameBatches:
    reader = cast(RolloutDataset, dataset)
    if kind == "memory":
        return FramesInMemory(read_all_frames(reader, dataset.episodes), batch_size, seed)
    return FramesStreamed(reader, dataset.episodes, batch_size, seed, buffer_frames * FRAME_BYTES)


KINDS = pytest.mark.parametrize("kind", ["memory", "streamed"])


@KINDS
@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    batch_size=st.integers(1, 15),
    buffer_frames=st.integers(1, 60),
    seed=st.integers(0, 9),
)
def test_every_full_batch_comes_once(
    kind: str, lengths: list[int], batch_size: int, buffer_frames: int, seed: int
) -> None:
    dataset = FakeDataset(lengths)
    batches = _make(kind, dataset, batch_size, seed, buffer_frames)
    found = _epoch(batches, 0)
    assert len(found) == batches.num_batches() == dataset.num_frames // batch_size
    assert all(len(batch) == batch_size for batch in found)
    seen = [number for batch in found for number in batch]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(dataset.num_frames))


@KINDS
@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(1, 12), min_size=2, max_size=12), data=st.data())
def test_an_epoch_resumed_at_a_batch_goes_on_as_it_would_have(
    kind: str, lengths: list[int], data: st.DataObject
) -> None:
    dataset = FakeDataset(lengths)
    batches = _make(kind, dataset, 3)
    whole = _epoch(batches, 4)
    first_batch = data.draw(st.integers(0, len(whole)))
    assert _epoch(_make(kind, dataset, 3), 4, first_batch) == whole[first_batch:]


@KINDS
def test_batches_depend_on_seed_and_epoch_alone(kind: str) -> None:
    dataset = FakeDataset([9] * 10)
    batches = _make(kind, dataset, 8, seed=1)
    first = _epoch(batches, 0)
    second = _epoch(batches, 1)
    assert _epoch(batches, 0) == first
    assert _epoch(_make(kind, dataset, 8, seed=1), 1) == second
    other = _epoch(_make(kind, dataset, 8, seed=2), 0)
    assert first != second
    assert first != other


@KINDS
def test_frames_left_over_change_from_epoch_to_epoch(kind: str) -> None:
    """Each epoch of 103 frames in batches of 10 leaves out three frames; 60 epochs use every frame.

    The probability that all 60 epochs leave out one frame is 1e-92, and the random streams are fixed.
    """
    dataset = FakeDataset([9] * 9 + [12])
    batches = _make(kind, dataset, 10)
    seen = {number for epoch in range(60) for batch in _epoch(batches, epoch) for number in batch}
    assert seen == set(range(103))


@KINDS
def test_batches_mix_episodes(kind: str) -> None:
    dataset = FakeDataset([9] * 20)
    batches = _make(kind, dataset, 10, buffer_frames=200)
    assert all(len({number // 10 for number in batch}) > 2 for batch in _epoch(batches, 0))


@settings(deadline=None, max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    batch_size=st.integers(1, 12),
    buffer_frames=st.integers(20, 80),
)
def test_the_streamed_buffer_is_bounded(lengths: list[int], batch_size: int, buffer_frames: int) -> None:
    """At every batch, the frames read but not used are at most two groups and less than one batch.

    A group holds at most half of the buffer, because no episode here is longer than that.
    """
    dataset = FakeDataset(lengths)
    used = 0
    for batch in _make("streamed", dataset, batch_size, 0, buffer_frames).epoch(0, 0):
        assert dataset.frames_read - used <= buffer_frames + batch_size
        used += len(batch)
    assert dataset.frames_read == dataset.num_frames  # an epoch reads each frame once


def test_an_episode_larger_than_the_buffer_is_a_group_by_itself() -> None:
    dataset = FakeDataset([50, 3, 50, 3])
    found = _epoch(_make("streamed", dataset, 5, buffer_frames=10), 0)
    assert len(found) == dataset.num_frames // 5


def test_an_epoch_that_is_left_early_stops_its_reader() -> None:
    dataset = FakeDataset([9] * 40)
    threads = threading.active_count()
    running: Any = _make("streamed", dataset, 5, buffer_frames=20).epoch(0, 0)
    next(running)
    running.close()
    assert threading.active_count() == threads
    assert dataset.frames_read <= 40


def test_an_error_in_reading_reaches_the_caller() -> None:
    dataset = FakeDataset([9] * 10)
    real = dataset.frames

    def fail(episode: StoredEpisode) -> npt.NDArray[np.uint8]:
        if dataset.frames_read > 50:
            raise OSError("the disk is gone")
        return real(episode)

    dataset.frames = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="the disk is gone"):
        _epoch(_make("streamed", dataset, 5), 0)


def test_in_memory_indices_are_the_batches() -> None:
    dataset = FakeDataset([9] * 3)
    batches = _make("memory", dataset, 4)
    assert isinstance(batches, FramesInMemory)
    assert [indices.tolist() for indices in batches.indices(2, 1)] == _epoch(batches, 2, 1)


def test_sizes_and_samples() -> None:
    dataset = FakeDataset([9, 19, 4])
    reader = cast(RolloutDataset, dataset)
    assert num_frames(dataset.episodes) == 35
    assert frame_bytes(dataset.episodes, dataset.frame_kind) == 35 * FRAME_BYTES
    assert _numbers(read_all_frames(reader, dataset.episodes)) == list(range(35))
    assert _numbers(sample_frames(reader, dataset.episodes, 100)) == list(range(35))
    sample = _numbers(sample_frames(reader, dataset.episodes, 7))
    assert sample == [0, 5, 10, 15, 20, 25, 30]
