"""Videos: MP4 through PyAV (extra `video`), GIF through Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vmc.errors import VmcError
from vmc.extras import require
from vmc.storage.files import replacing

_FRAMES_PER_SECOND = 50  # CarRacing's rate
_GIF_KEEP = 5  # a GIF keeps every fifth frame, because viewers limit the rate and files get large


def check_video_path(path: Path) -> None:
    """Raises a `VmcError` if the format is unknown or its package is missing. Call it before any work."""
    if path.suffix not in (".mp4", ".gif"):
        raise VmcError(f"{path} is neither .mp4 nor .gif.", "Give --video with one of these endings.")
    if path.suffix == ".mp4":
        require("video", "give a .gif")


def write_video(path: Path, frames: npt.NDArray[np.uint8], scale: int = 3) -> None:
    """Writes uint8 (N, H, W, 3) frames, enlarged `scale` times, as .mp4 or .gif, by the suffix of `path`."""
    check_video_path(path)
    frames = frames.repeat(scale, axis=1).repeat(scale, axis=2)
    with replacing(path) as partial:
        (_write_mp4 if path.suffix == ".mp4" else _write_gif)(partial, frames)


def _write_mp4(path: Path, frames: npt.NDArray[np.uint8]) -> None:
    import av

    # libx264 accepts only even sides.
    height, width = (side - side % 2 for side in frames.shape[1:3])
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_FRAMES_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_gif(path: Path, frames: npt.NDArray[np.uint8]) -> None:
    images = [Image.fromarray(frame).quantize(64, Image.Quantize.MAXCOVERAGE) for frame in frames[::_GIF_KEEP]]
    milliseconds = 1000 * _GIF_KEEP // _FRAMES_PER_SECOND
    images[0].save(path, format="GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0)
