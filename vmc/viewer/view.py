"""What the page sees, as one binary message.

The message is the length of a JSON header (uint32, little-endian), the header, and the header's `sections` one after
another. A section has a name, a kind, a shape and its number of bytes. The kinds: `rgb` (uint8 (H, W, 3)), `jpeg`,
`f32` (little-endian floats), `u8`.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from vmc.models.mixture import Mixture, of_dimensions
from vmc.report.panels import Picture
from vmc.viewer.minds import Inside

# Smaller pictures are sent as they are: their pixels are few, and each matters.
_RAW_PIXELS = 128 * 128
_JPEG_QUALITY = 88
_CURVE_POINTS = 120


def encode_view(
    header: Mapping[str, Any], pictures: Mapping[str, Picture], inside: Inside | None, look_at: int
) -> bytes:
    """A view.

    Args:
        header: what is said of the step, in plain JSON.
        pictures: uint8 (H, W, 3), by the panel's name.
        look_at: the latent dimension whose mixture is shown.
    """
    sections = [_picture(name, picture) for name, picture in pictures.items()]
    header = dict(header)
    if inside is not None:
        sections.append(_floats("z", inside.latent))
        sections += [_strip(f"feature.{name}", part) for name, part in inside.features.items()]
        header["outputs"] = inside.outputs.tolist()
        if inside.mixture is not None:
            z, density = _density(inside.mixture, look_at)
            header["mixture"] = {"index": look_at, "low": float(z[0]), "high": float(z[-1])}
            sections.append(_floats("density", density))
    header["sections"] = [described for described, _ in sections]
    text = json.dumps(header, allow_nan=False).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(content for _, content in sections)])


Section = tuple[dict[str, Any], bytes]


def _section(name: str, kind: str, shape: tuple[int, ...], content: bytes) -> Section:
    return {"name": name, "kind": kind, "shape": shape, "bytes": len(content)}, content


def _picture(name: str, picture: Picture) -> Section:
    height, width, _ = picture.shape
    if height * width <= _RAW_PIXELS:
        return _section(name, "rgb", (height, width, 3), np.ascontiguousarray(picture).tobytes())
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "JPEG", quality=_JPEG_QUALITY)
    return _section(name, "jpeg", (height, width, 3), content.getvalue())


def _floats(name: str, values: npt.NDArray[Any]) -> Section:
    return _section(name, "f32", values.shape, values.astype("<f4").tobytes())


def _strip(name: str, values: npt.NDArray[Any]) -> Section:
    """Values from -1 to 1 as bytes from 0 to 255; an LSTM's c, which is larger, is squashed as its output would be."""
    squashed = values if np.abs(values).max(initial=0) <= 1 else np.tanh(values)
    return _section(name, "u8", values.shape, np.round(127.5 * (squashed + 1)).astype(np.uint8).tobytes())


def _density(mixture: Mixture, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The density of one dimension on a grid of z that holds next to all of it: both (`_CURVE_POINTS`,)."""
    one = of_dimensions(mixture, torch.tensor([index]))
    log_weights, means, log_stds = (part[0, 0].double().numpy() for part in one)
    weights, stds = np.exp(log_weights), np.exp(log_stds)
    low, high = min((means - 4 * stds).min(), -3.0), max((means + 4 * stds).max(), 3.0)
    z = np.linspace(low, high, _CURVE_POINTS)
    normal = np.exp(-0.5 * ((z[:, None] - means) / stds) ** 2) / (stds * np.sqrt(2 * np.pi))
    return z, normal @ weights
