"""Episodes on disk: a folder of HDF5 shards.

One shard holds a few whole episodes end to end. Datasets, with E episodes of lengths T_e and S = sum(T_e):

    frames      uint8   (S + E, 64, 64, 3)  T_e + 1 frames an episode, the terminal frame included;
                float32 (S + E, D)          where the environment shows vectors
    actions     float32 (S, A)              as applied, after squashing and clipping
    rewards     float64 (S,)
    index       int64   (E,)                the episode's number in the data set
    lengths     int64   (E,)                T_e
    env_seeds   int64   (E,)
    terminated, truncated  bool (E,)        how the episode ended; never merged
    digests     S64     (E,)                SHA-256 of the episode's content

and attributes: schema, env, preprocessing, action_map (JSON), policy (JSON), seed. Chunks carry a Fletcher-32 checksum.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt

from vmc.errors import VmcError
from vmc.storage.files import parse_json, write_bytes

SCHEMA = 2
_MAX_OPEN_SHARDS = 16
# The number of dimensions and the type of each data set but the frames.
_FORMS = {
    "actions": (2, "float32"),
    "rewards": (1, "float64"),
    "index": (1, "int64"),
    "lengths": (1, "int64"),
    "env_seeds": (1, "int64"),
    "terminated": (1, "bool"),
    "truncated": (1, "bool"),
    "digests": (1, "|S64"),
}
# Episodes are read whole, so frames are compressed in small groups (measured in docs/experiments/frame-storage.md).
_FRAMES_PER_CHUNK = 16
_VECTORS_PER_CHUNK = 4096


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T steps.

    Attributes:
        index: its number in the data set.
        frames: uint8 (T + 1, 64, 64, 3), or float32 (T + 1, D).
        actions: float32 (T, A).
        rewards: float64 (T,).
    """

    index: int
    env_seed: int
    frames: npt.NDArray[Any]
    actions: npt.NDArray[np.float32]
    rewards: npt.NDArray[np.float64]
    terminated: bool
    truncated: bool

    def digest(self) -> str:
        """SHA-256 of all that a model can learn from."""
        hasher = hashlib.sha256(f"{self.env_seed} {self.terminated} {self.truncated}".encode())
        for array in (self.frames, self.actions, self.rewards):
            hasher.update(np.ascontiguousarray(array).data)
        return hasher.hexdigest()


@dataclass(frozen=True)
class Source:
    """The origin of a shard's episodes; kept as the shard's attributes."""

    env: str
    preprocessing: str
    action_map: dict[str, Any]
    policy: dict[str, Any]
    seed: int


@dataclass(frozen=True)
class FrameKind:
    """The form of one frame: uint8 (64, 64, 3), or float32 (D,)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def num_bytes(self) -> int:
        """The size of one uncompressed frame."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


@dataclass(frozen=True)
class StoredEpisode:
    """An episode's place in a file, and its small values."""

    index: int
    path: Path
    first_frame: int
    first_step: int
    length: int
    env_seed: int
    terminated: bool
    truncated: bool
    digest: str
    episode_return: float


def shard_path(directory: Path, indices: Sequence[int]) -> Path:
    """The path of the shard that holds these episodes."""
    return directory / f"episodes-{indices[0]:06d}-{indices[-1]:06d}.h5"


def write_shard(directory: Path, episodes: Sequence[Episode], source: Source) -> Path:
    """Writes a shard under a temporary name and renames it when it is whole.

    Raises:
        VmcError: the folder cannot be written or is full.
    """
    path = shard_path(directory, [episode.index for episode in episodes])
    write_bytes(path, encode_shard(episodes, source))
    return path


def encode_shard(episodes: Sequence[Episode], source: Source) -> bytes:
    """A shard's bytes, compressed: a worker that collects may have no access to the folder."""
    frames = np.concatenate([episode.frames for episode in episodes])
    per_chunk = _FRAMES_PER_CHUNK if frames.ndim > 2 else _VECTORS_PER_CHUNK
    chunk = (min(per_chunk, len(frames)), *frames.shape[1:])
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.create_dataset("frames", data=frames, chunks=chunk, fletcher32=True, **hdf5plugin.Zstd(clevel=1))
        for name in ("actions", "rewards"):
            data = np.concatenate([getattr(episode, name) for episode in episodes])
            file.create_dataset(name, data=data, chunks=data.shape, fletcher32=True)
        file["index"] = [episode.index for episode in episodes]
        file["lengths"] = [len(episode.rewards) for episode in episodes]
        file["env_seeds"] = [episode.env_seed for episode in episodes]
        file["terminated"] = [episode.terminated for episode in episodes]
        file["truncated"] = [episode.truncated for episode in episodes]
        file["digests"] = np.array([episode.digest() for episode in episodes], dtype="S64")
        file.attrs.update(
            schema=SCHEMA,
            env=source.env,
            preprocessing=source.preprocessing,
            action_map=json.dumps(source.action_map),
            policy=json.dumps(source.policy),
            seed=source.seed,
        )
    return memory.getvalue()


class RolloutDataset:
    """All episodes of a folder, in the order of their numbers. Frames stay on disk until they are read.

    Args:
        directory: the folder of shards.

    Raises:
        VmcError: no shards, or one that is truncated, empty, foreign, inconsistent or holds NaN.
    """

    def __init__(self, directory: str | Path) -> None:
        directory = Path(directory)
        self.directory = directory
        paths = sorted(directory.glob("*.h5"))
        if not paths:
            raise VmcError(f"There are no episodes in {directory}.", "Run `vmc rollouts` first.")
        episodes: dict[int, StoredEpisode] = {}
        sources: dict[Path, Source] = {}
        kinds: dict[str, FrameKind] = {}
        for path in paths:
            sources[path], kind, found = _read_index(path)
            kinds[str(kind)] = kind
            for episode in found:
                if episode.index in episodes:
                    raise VmcError(
                        f"Episode {episode.index} is both in {episodes[episode.index].path} and in {path}.",
                        "Remove one of the two files.",
                    )
                episodes[episode.index] = episode
        self.episodes = [episodes[index] for index in sorted(episodes)]
        self.sources = sources
        self.env = _common("env", {s.env for s in sources.values()}, directory)
        self.preprocessing = _common("preprocessing", {s.preprocessing for s in sources.values()}, directory)
        maps = {json.dumps(s.action_map, sort_keys=True) for s in sources.values()}
        self.action_map: dict[str, Any] = json.loads(_common("action map", maps, directory))
        self.frame_kind = kinds[_common("frames", set(kinds), directory)]
        self._open: OrderedDict[Path, h5py.File] = OrderedDict()

    @property
    def num_frames(self) -> int:
        """Frames in all episodes, terminal ones included."""
        return sum(episode.length + 1 for episode in self.episodes)

    def fingerprint(self) -> str:
        """A hash of the content, whatever the number of shards it was written in."""
        hasher = hashlib.sha256(f"{self.env} {self.preprocessing}".encode())
        for episode in self.episodes:
            hasher.update(f"{episode.index} {episode.digest}".encode())
        return hasher.hexdigest()

    def read(self, episode: StoredEpisode) -> Episode:
        """Reads one whole episode and compares it with its SHA-256."""
        with _explained_read(episode.path):
            return _read_episode(self._file(episode.path), episode)

    def frames(self, episode: StoredEpisode) -> npt.NDArray[Any]:
        """The frames of one episode, (T + 1, ...) of the data set's `frame_kind`, checked as by `read`."""
        return self.read(episode).frames

    def close(self) -> None:
        """Closes the open shards; reading opens them again."""
        while self._open:
            self._open.popitem()[1].close()

    def _file(self, path: Path) -> h5py.File:
        if path not in self._open:
            if len(self._open) >= _MAX_OPEN_SHARDS:
                self._open.popitem(last=False)[1].close()
            self._open[path] = h5py.File(path, "r")
        self._open.move_to_end(path)
        return self._open[path]


def check_shard(path: Path) -> None:
    """Reads every byte of a shard; raises a `VmcError` that says what is wrong with it."""
    _, _, episodes = _read_index(path)
    with _explained_read(path), h5py.File(path, "r") as file:
        for episode in episodes:
            _read_episode(file, episode)


def holds_episodes(directory: Path) -> bool:
    """Returns whether there is a shard, whole or not. It opens none, unlike `RolloutDataset`."""
    return any(directory.glob("*.h5"))


def present_indices(directory: Path) -> set[int]:
    """The numbers of the episodes that a folder holds; empty when it holds none."""
    if not holds_episodes(directory):
        return set()
    return {episode.index for episode in RolloutDataset(directory).episodes}


def split_validation(episodes: Sequence[StoredEpisode]) -> tuple[list[StoredEpisode], list[StoredEpisode]]:
    """(training, validation): every tenth episode, by its number, is never trained on.

    By number, so that an episode stays on its side when the data set grows.

    Raises:
        VmcError: too few episodes for both sides.
    """
    validation = [episode for episode in episodes if episode.index % 10 == 3]
    training = [episode for episode in episodes if episode.index % 10 != 3]
    if not validation or not training:
        raise VmcError(
            f"{len(episodes)} episodes are too few: episode 3 of each ten is for validation.",
            "Run `vmc rollouts --episodes 4` or more.",
        )
    return training, validation


def check_env_matches(dataset: RolloutDataset, env: str, preprocessings: Collection[str]) -> None:
    """Raises a `VmcError` when a data set is of another environment or of none of these preprocessings."""
    for what, found, expected in (
        ("the environment", dataset.env, [env]),
        ("preprocessing", dataset.preprocessing, preprocessings),
    ):
        if found not in expected:
            raise VmcError(
                f"{dataset.directory} holds episodes of {what} {found}; expected {' or '.join(expected)}.",
                "Give the right --env, or another folder with --data.",
            )


def _read_index(path: Path) -> tuple[Source, FrameKind, list[StoredEpisode]]:
    if not path.is_file():
        raise _bad_shard(path, "is no regular file")
    with _explained_read(path), h5py.File(path, "r") as file:
        if file.attrs.get("schema", SCHEMA) != SCHEMA:
            raise _bad_shard(path, f"has schema {file.attrs['schema']}, and this vmc reads {SCHEMA}")
        missing = {"schema", "env", "preprocessing", "action_map", "policy", "seed"} - set(file.attrs)
        if missing:
            raise _bad_shard(path, f"is not a vmc shard (it has no attribute {min(missing)!r})")
        source = Source(
            file.attrs["env"],
            file.attrs["preprocessing"],
            parse_json(file.attrs["action_map"]),
            parse_json(file.attrs["policy"]),
            int(file.attrs["seed"]),
        )
        action_map_is = isinstance(source.action_map, dict), isinstance(source.policy.get("name"), str)
        if not (isinstance(source.env, str) and isinstance(source.preprocessing, str) and all(action_map_is)):
            raise _bad_shard(path, "has attributes of other types")
        _check_shapes(path, file)
        kind = FrameKind(file["frames"].shape[1:], str(file["frames"].dtype))
        rewards = file["rewards"][:]
        for name, values in (("actions", file["actions"][:]), ("rewards", rewards)):
            if not np.isfinite(values).all():
                raise _bad_shard(path, f"holds {name} that are NaN or infinite")
        return source, kind, list(_stored_episodes(path, file, rewards))


def _read_frames(file: h5py.File, episode: StoredEpisode) -> npt.NDArray[Any]:
    first = episode.first_frame
    frames: npt.NDArray[Any] = file["frames"][first : first + episode.length + 1]
    return frames


def _read_episode(file: h5py.File, episode: StoredEpisode) -> Episode:
    first, last = episode.first_step, episode.first_step + episode.length
    actions, rewards = file["actions"][first:last], file["rewards"][first:last]
    flags = (episode.terminated, episode.truncated)
    found = Episode(episode.index, episode.env_seed, _read_frames(file, episode), actions, rewards, *flags)
    if found.digest() != episode.digest:
        raise _bad_shard(episode.path, f"holds an episode {episode.index} that is not the one that was written")
    return found


def _stored_episodes(path: Path, file: h5py.File, rewards: npt.NDArray[Any]) -> Iterable[StoredEpisode]:
    columns = [file[name][:] for name in ("index", "lengths", "env_seeds", "terminated", "truncated", "digests")]
    step = 0
    for number, row in enumerate(zip(*columns, strict=True)):
        index, length, env_seed, terminated, truncated, digest = row
        total = float(rewards[step : step + length].sum())
        flags = (bool(terminated), bool(truncated))
        yield StoredEpisode(
            int(index), path, step + number, step, int(length), int(env_seed), *flags, digest.decode(), total
        )
        step += int(length)


def _check_shapes(path: Path, file: h5py.File) -> None:
    names = (
        "frames",
        "actions",
        "rewards",
        "index",
        "lengths",
        "env_seeds",
        "terminated",
        "truncated",
        "digests",
    )
    for name in names:
        if not isinstance(file.get(name), h5py.Dataset):
            raise _bad_shard(path, f"has no data set {name!r}")
        form = _FORMS.get(name)
        if form is not None and (file[name].ndim, str(file[name].dtype)) != form:
            raise _bad_shard(path, f"holds {name} that are {file[name].dtype} in {file[name].ndim} dimensions")
    shape, dtype = file["frames"].shape[1:], file["frames"].dtype
    if (shape, dtype) != ((64, 64, 3), np.uint8) and (len(shape), dtype) != (1, np.float32):
        raise _bad_shard(path, f"holds frames {dtype} {shape}, neither uint8 (64, 64, 3) nor float32 vectors")
    num_episodes = len(file["lengths"])
    if (file["lengths"][:] < 1).any():
        raise _bad_shard(path, "holds an episode without steps")
    steps = int(file["lengths"][:].sum())
    sizes = {"frames": steps + num_episodes, "actions": steps, "rewards": steps}
    for name in names:
        expected = sizes.get(name, num_episodes)
        if len(file[name]) != expected or expected == 0:
            raise _bad_shard(path, f"holds {len(file[name])} {name} where its lengths ask for {expected}")


class _explained_read:
    """Turns h5py's errors on reading into a `VmcError` that names the shard."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError | KeyError | ValueError | RuntimeError | TypeError | AttributeError):
            raise _bad_shard(self._path, f"cannot be read ({str(error)[:120]})") from None


def _bad_shard(path: Path, what: str) -> VmcError:
    return VmcError(
        f"{path} {what}: it is truncated, damaged or foreign.",
        "Move it away; `vmc rollouts` then collects its episodes again.",
    )


def _common(what: str, values: set[str], directory: Path) -> str:
    if len(values) > 1:
        raise VmcError(
            f"{directory} mixes episodes of {what} {' and '.join(sorted(values))}.",
            "Keep one folder an environment.",
        )
    return values.pop()
