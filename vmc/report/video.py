"""Videos: MP4 through PyAV (extra `video`), GIF through Pillow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vmc.errors import VmcError
from vmc.extras import require
from vmc.report.panels import FONT_SIZE, GAP, label_strip, side_by_side
from vmc.storage.files import replacing

_FRAMES_PER_SECOND = 50  # CarRacing's rate
_GIF_KEEP = 5  # a GIF keeps every fifth frame, because viewers limit the rate and files get large
_GIF_COLORS = 44
_GIF_TOLERANCE = 5  # a pixel whose red, green and blue change by no more than this keeps its colour: less to store
_PALETTE_PICTURES = 16

Picture = npt.NDArray[np.uint8]
Panels = Mapping[str, npt.NDArray[np.uint8]]


def check_video_path(path: Path) -> None:
    """Raises a `VmcError` if the format is unknown or its package is missing. Call it before any work."""
    if path.suffix not in (".mp4", ".gif"):
        raise VmcError(f"{path} is neither .mp4 nor .gif.", "Give --video with one of these endings.")
    if path.suffix == ".mp4":
        require("video", "give a .gif")


def write_video(path: Path, panels: Panels, scale: int = 3) -> None:
    """Writes a film of panels side by side, each below its label, as .mp4 or .gif, by the suffix of `path`.

    Args:
        panels: frames by the panel's label, uint8 (N, H, W, 3), as many in each panel.
        scale: frames are enlarged so many times.
    """
    check_video_path(path)
    with replacing(path) as partial:
        if path.suffix == ".mp4":
            _write_mp4(partial, _pictures(panels, scale))
        else:
            kept = _every(panels, _GIF_KEEP)
            _write_gif(partial, _pictures(kept, scale), _palette(kept))


def _every(panels: Panels, number: int) -> dict[str, npt.NDArray[np.uint8]]:
    return {label: frames[::number] for label, frames in panels.items()}


def _pictures(panels: Panels, scale: int) -> Iterator[Picture]:
    """The film's pictures, (H, W, 3), one at a time, so that a long film needs little memory."""
    widths = [scale * frames.shape[2] for frames in panels.values()]
    strip = label_strip(list(panels), widths, scale * GAP, scale * FONT_SIZE)
    for frames in zip(*panels.values(), strict=True):
        yield np.concatenate([strip, side_by_side(np.stack(frames), scale)])


def _write_mp4(path: Path, pictures: Iterator[Picture]) -> None:
    import av

    first = next(pictures)
    # libx264 accepts only even sides.
    height, width = (side - side % 2 for side in first.shape[:2])
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_FRAMES_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in chain([first], pictures):
            cut = np.ascontiguousarray(picture[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(cut, format="rgb24")))
        container.mux(stream.encode())


def _palette(panels: Panels) -> Image.Image:
    """One palette for the whole film, so that colours do not flicker, from a few of its pictures."""
    number = len(next(iter(panels.values()))) // _PALETTE_PICTURES
    few = np.concatenate(list(_pictures(_every(panels, max(1, number)), 1)))
    return Image.fromarray(few).quantize(_GIF_COLORS, Image.Quantize.MAXCOVERAGE, kmeans=2)


def _write_gif(path: Path, pictures: Iterator[Picture], palette: Image.Image) -> None:
    images = [
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE) for picture in _calmed(pictures)
    ]
    milliseconds = 1000 * _GIF_KEEP // _FRAMES_PER_SECOND
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0)


def _calmed(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """The pictures without changes that nobody sees, which would fill the file."""
    shown = next(pictures)
    yield shown
    for picture in pictures:
        changes = np.abs(picture.astype(np.int16) - shown).max(axis=2, keepdims=True)
        shown = np.where(changes > _GIF_TOLERANCE, picture, shown)
        yield shown
