"""Videos: MP4 through PyAV (extra `video`), GIF through Pillow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from vmc.errors import VmcError
from vmc.extras import require
from vmc.report.panels import Picture
from vmc.storage.files import replacing

_GIF_RATE = 10.0  # pictures a second at most, because viewers limit the rate and files get large
_GIF_COLORS = 64
_GIF_TOLERANCE = 5  # a pixel whose red, green and blue change by no more than this keeps its colour: less to store
_PALETTE_PICTURES = 16


class Video(Protocol):
    """A video that is being written."""

    def append(self, picture: Picture) -> None:
        """Adds a picture, uint8 (H, W, 3) with even sides, all of one size."""
        ...


def check_video_path(path: Path) -> None:
    """Raises a `VmcError` if the format is unknown or its package is missing. Call it before any work."""
    if path.suffix not in (".mp4", ".gif"):
        raise VmcError(f"{path} is neither .mp4 nor .gif.", "Give --video with one of these endings.")
    if path.suffix == ".mp4":
        require("video", "give a .gif")


@contextmanager
def open_video(path: Path, frames_per_second: float) -> Iterator[Video]:
    """Yields a video to add pictures to; when it is whole it gets its name, .mp4 or .gif.

    An MP4 is written as the pictures come. A GIF keeps about ten pictures a second, in memory.

    Raises:
        VmcError: another ending; PyAV is not installed; no picture; the folder cannot be written.
    """
    check_video_path(path)
    with replacing(path) as partial:
        video = (_Mp4 if path.suffix == ".mp4" else _Gif)(partial, frames_per_second)
        try:
            yield video
        finally:
            video.close()


def write_video(path: Path, pictures: Iterable[Picture], frames_per_second: float) -> int:
    """Writes all pictures as .mp4 or .gif, by the suffix of `path`, and returns their number; see `open_video`."""
    number = 0
    with open_video(path, frames_per_second) as video:
        for picture in pictures:
            video.append(picture)
            number += 1
    return number


class _Mp4:
    def __init__(self, path: Path, rate: float) -> None:
        import av

        self._av = av
        self._container = av.open(str(path), "w", format="mp4")
        self._stream: Any = self._container.add_stream("libx264", rate=round(rate))
        self._stream.pix_fmt = "yuv420p"
        self._is_new = True

    def append(self, picture: Picture) -> None:
        if self._is_new:
            self._stream.height, self._stream.width = picture.shape[:2]
            self._is_new = False
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()


class _Gif:
    def __init__(self, path: Path, rate: float) -> None:
        self._path, self._every = path, max(1, round(rate / _GIF_RATE))
        self._milliseconds = 1000 * self._every / rate
        self._pictures: list[Picture] = []
        self._number = 0

    def append(self, picture: Picture) -> None:
        if self._number % self._every == 0:
            self._pictures.append(picture)
        self._number += 1

    def close(self) -> None:
        palette = self._palette()
        images = [
            Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
            for picture in _calmed(iter(self._pictures))
        ]
        options: dict[str, Any] = {"format": "GIF", "save_all": True, "loop": 0, "duration": self._milliseconds}
        images[0].save(self._path, append_images=images[1:], **options)

    def _palette(self) -> Image.Image:
        """One palette for the whole film, so that colours do not flicker, from a few of its pictures."""
        few = np.concatenate(self._pictures[:: max(1, len(self._pictures) // _PALETTE_PICTURES)])
        return Image.fromarray(few).quantize(_GIF_COLORS, Image.Quantize.MAXCOVERAGE, kmeans=2)


def _calmed(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """The pictures without changes that nobody sees, which would fill the file."""
    shown = next(pictures)
    yield shown
    for picture in pictures:
        changes = np.abs(picture.astype(np.int16) - shown).max(axis=2, keepdims=True)
        shown = np.where(changes > _GIF_TOLERANCE, picture, shown)
        yield shown
