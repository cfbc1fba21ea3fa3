"""V's latents of a whole data set in one HDF5 file, tied to V and to the data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from vmc.storage.files import replacing_hdf5

SCHEMA = 3
_FIELDS = ("means", "log_variances", "actions", "rewards", "index", "lengths", "terminated")
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Latents:
    """Latent episodes end to end, in memory (256 bytes a frame for Z 32).

    With E episodes of lengths T_e and S = sum(T_e):

    Attributes:
        means, log_variances: V's posterior of each frame, float32 (S + E, Z).
        actions: float32 (S, A).
        rewards: float32 (S,).
        index, lengths: int64 (E,).
        terminated: bool (E,).
    """

    means: Floats
    log_variances: Floats
    actions: Floats
    rewards: Floats
    index: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    terminated: npt.NDArray[np.bool_]

    def first_frames(self) -> npt.NDArray[np.int64]:
        """The index of each episode's first frame, (E,)."""
        return self.first_steps() + np.arange(len(self.lengths))

    def first_steps(self) -> npt.NDArray[np.int64]:
        """The index of each episode's first action and reward, (E,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)[:-1]]).astype(np.int64)

    def validation(self) -> npt.NDArray[np.int64]:
        """Positions of the validation episodes; the same as `rollouts.split_validation`."""
        return np.flatnonzero(self.index % 10 == 3)

    def training(self) -> npt.NDArray[np.int64]:
        """Positions of the training episodes."""
        return np.flatnonzero(self.index % 10 != 3)

    def termination_labels(self, no_reward_limit: int | None) -> npt.NDArray[np.bool_]:
        """The steps labelled as terminated, bool (S,): a dream shall terminate there.

        These are the terminations, and the steps of each stretch without a positive reward that is `no_reward_limit`
        long or longer (None: no stretch is). The first quarter of the limit is left out: nothing shows there yet that
        the episode is lost.
        """
        firsts = self.first_steps()
        labels = np.zeros(len(self.rewards), bool)
        labels[(firsts + self.lengths - 1)[self.terminated]] = True
        if no_reward_limit is not None:
            for first, length in zip(firsts, self.lengths, strict=True):
                paid = np.flatnonzero(self.rewards[first : first + length] > 0)
                bounds = np.concatenate([[-1], paid, [length]])
                for before, after in zip(bounds[:-1] + 1, bounds[1:], strict=True):
                    if after - before >= no_reward_limit:
                        labels[first + before + no_reward_limit // 4 : first + after] = True
        return labels

    def episode(self, position: int) -> Latents:
        """One episode by itself."""
        frame, step = int(self.first_frames()[position]), int(self.first_steps()[position])
        length = int(self.lengths[position])
        frames, steps, own = slice(frame, frame + length + 1), slice(step, step + length), slice(position, position + 1)
        return Latents(
            self.means[frames],
            self.log_variances[frames],
            self.actions[steps],
            self.rewards[steps],
            self.index[own],
            self.lengths[own],
            self.terminated[own],
        )


def join(parts: Sequence[Latents]) -> Latents:
    """Latent episodes end to end."""
    return Latents(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS})


def write_latents(path: Path, latents: Latents, vae: str, digests: Sequence[str]) -> None:
    """Writes the file atomically; `vae` is V's SHA-256 and `digests` those of the episodes."""
    with replacing_hdf5(path) as file:
        for name in _FIELDS:
            values = getattr(latents, name)
            file.create_dataset(name, data=values, chunks=(min(len(values), 4096), *values.shape[1:]), fletcher32=True)
        file.create_dataset("digests", data=np.array(digests, "S64"), fletcher32=True, chunks=True)
        file.attrs.update(schema=SCHEMA, vae=vae, sha256=_digest(latents, digests))


def read_latents(path: Path, vae: str) -> tuple[Latents, list[str]] | None:
    """The latents that this very V made, with their episodes' digests; None where there are none or damaged ones."""
    try:
        with h5py.File(path, "r") as file:
            if (file.attrs["schema"], file.attrs["vae"]) != (SCHEMA, vae):
                return None
            digests = [digest.decode() for digest in file["digests"][:]]
            latents = Latents(**{name: file[name][:] for name in _FIELDS})
            return (latents, digests) if file.attrs["sha256"] == _digest(latents, digests) else None
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError):
        return None


def _digest(latents: Latents, digests: Sequence[str]) -> str:
    """A hash of all that is kept, with the types and shapes of the arrays."""
    hasher = hashlib.sha256(" ".join(digests).encode())
    for name in _FIELDS:
        array = np.ascontiguousarray(getattr(latents, name))
        hasher.update(f"{name} {array.dtype} {array.shape}".encode())
        hasher.update(array.data)
    return hasher.hexdigest()
