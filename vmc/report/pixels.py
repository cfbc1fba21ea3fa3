"""Pictures of pixels as data URIs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from vmc.errors import VmcError


def file_uri(path: Path) -> str:
    """A PNG file as a data URI.

    Raises:
        VmcError: it cannot be read as a PNG.
    """
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError):
        raise VmcError(f"{path} is damaged: it is no PNG.", "Remove it; its stage writes it again.") from None
    return _uri(data)


def array_uri(picture: npt.NDArray[np.uint8], most_width: int) -> str:
    """A picture (H, W, 3) as a data URI of a PNG; a wider one is made smaller."""
    image = Image.fromarray(picture)
    if image.width > most_width:
        size = (most_width, max(1, round(most_width * image.height / image.width)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    memory = io.BytesIO()
    image.save(memory, format="PNG", optimize=True)
    return _uri(memory.getvalue())


def _uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
