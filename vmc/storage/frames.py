"""Batches of frames for V: from memory if the frames fit, otherwise streamed through a bounded buffer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vmc.seeding import stream
from vmc.storage.rollouts import FrameKind, RolloutDataset, StoredEpisode

# (N, ...): uint8 pictures or float32 vectors.
Frames = npt.NDArray[Any]


class FrameBatches(Protocol):
    """Shuffled batches. The same (seed, epoch) gives the same batches for every `first_batch`."""

    def num_batches(self) -> int:
        """The number of full batches per epoch. An epoch leaves out frames that do not fill a batch."""
        ...

    def epoch(self, epoch: int, first_batch: int) -> Iterator[Frames]:
        """Yields the batches (B, ...) of an epoch, from number `first_batch` on."""
        ...


class FramesInMemory:
    """`FrameBatches` of an array in memory. Every batch is a random sample of all frames.

    Args:
        frames: (N, ...).
    """

    def __init__(self, frames: Frames, batch_size: int, seed: int) -> None:
        self.frames = frames
        self._batch_size = batch_size
        self._seed = seed

    def num_batches(self) -> int:
        return len(self.frames) // self._batch_size

    def indices(self, epoch: int, first_batch: int) -> Iterator[npt.NDArray[np.int64]]:
        """Yields the batches as positions (B,) in `frames`, for a caller that keeps the frames on a GPU."""
        order = stream(self._seed, "frames/memory", epoch).permutation(len(self.frames))
        for batch in range(first_batch, self.num_batches()):
            yield order[batch * self._batch_size : (batch + 1) * self._batch_size]

    def epoch(self, epoch: int, first_batch: int) -> Iterator[Frames]:
        for indices in self.indices(epoch, first_batch):
            yield self.frames[indices]


class FramesStreamed:
    """`FrameBatches` of data that do not fit in memory. It reads random groups of episodes and shuffles each group.

    A thread reads the next group while this one is used. The last frames of a group join the next group, which needs
    a third copy for a moment. A group therefore has at most a third of `buffer_bytes`, or one episode.
    """

    def __init__(
        self,
        dataset: RolloutDataset,
        episodes: list[StoredEpisode],
        batch_size: int,
        seed: int,
        buffer_bytes: int,
    ) -> None:
        self._dataset = dataset
        self._kind = dataset.frame_kind
        self._episodes = episodes
        self._batch_size = batch_size
        self._seed = seed
        self._group_bytes = buffer_bytes // 3

    def num_batches(self) -> int:
        return num_frames(self._episodes) // self._batch_size

    def epoch(self, epoch: int, first_batch: int) -> Iterator[Frames]:
        rng = stream(self._seed, "frames/streamed", epoch)
        groups = self._groups(rng)
        left = np.empty((0, *self._kind.shape), self._kind.dtype)
        batch = 0
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = reader.submit(self._read, groups[0])
            for number in range(len(groups)):
                frames = np.concatenate([left, coming.result()])
                if number + 1 < len(groups):
                    coming = reader.submit(self._read, groups[number + 1])
                order = rng.permutation(len(frames))
                full = len(frames) // self._batch_size * self._batch_size
                for first in range(0, full, self._batch_size):
                    if batch >= first_batch:
                        yield frames[order[first : first + self._batch_size]]
                    batch += 1
                left = frames[order[full:]]

    def _groups(self, rng: np.random.Generator) -> list[list[StoredEpisode]]:
        """Random groups of similar size. A last group of one episode would give batches from that episode alone."""
        total = frame_bytes(self._episodes, self._kind)
        # One group more than the bytes require, because whole episodes seldom fill a group exactly.
        target = total / (ceil(total / self._group_bytes) + 1)
        groups: list[list[StoredEpisode]] = [[]]
        size = 0
        for position in rng.permutation(len(self._episodes)):
            episode = self._episodes[position]
            if groups[-1] and (size >= target or size + frame_bytes([episode], self._kind) > self._group_bytes):
                groups.append([])
                size = 0
            groups[-1].append(episode)
            size += frame_bytes([episode], self._kind)
        return groups

    def _read(self, episodes: list[StoredEpisode]) -> Frames:
        return read_all_frames(self._dataset, episodes)


def num_frames(episodes: list[StoredEpisode]) -> int:
    """The number of frames in these episodes, final observations included."""
    return sum(episode.length + 1 for episode in episodes)


def frame_bytes(episodes: list[StoredEpisode], kind: FrameKind) -> int:
    """The size of the uncompressed frames of these episodes, in bytes."""
    return num_frames(episodes) * kind.num_bytes


def read_all_frames(dataset: RolloutDataset, episodes: list[StoredEpisode]) -> Frames:
    """Reads all frames of these episodes into one array (N, ...), without a second copy."""
    frames = np.empty((num_frames(episodes), *dataset.frame_kind.shape), dataset.frame_kind.dtype)
    first = 0
    for episode in episodes:
        frames[first : first + episode.length + 1] = dataset.frames(episode)
        first += episode.length + 1
    return frames


def sample_frames(dataset: RolloutDataset, episodes: list[StoredEpisode], most: int) -> Frames:
    """Reads about `most` frames or fewer, (N, ...), evenly spaced within each episode."""
    step = max(1, num_frames(episodes) // most)
    return np.concatenate([dataset.frames(episode)[::step] for episode in episodes])
