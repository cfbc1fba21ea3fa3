"""V's encoder for one frame on one CPU thread, in NumPy.

At batch 1 a framework's overhead rivals the arithmetic. A convolution is a matrix product over gathered patches; in
channels-last order a row of a patch is contiguous, so gathering is a few long copies and BLAS does the rest. Half of
eager PyTorch's time (measured in DECISIONS.md), and worker processes need not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

Array = npt.NDArray[np.float32]
_KERNEL, _STRIDE, _NUM_CONVS, _FRAME_SIDE = 4, 2, 4, 64


class Vision:
    """A frame to its latent. The decoder is never run here.

    Args:
        weights: V's arrays by their PyTorch names, as in its checkpoint.
    """

    def __init__(self, weights: Mapping[str, npt.NDArray[Any]]) -> None:
        self._image = np.empty((_FRAME_SIDE, _FRAME_SIDE, 3), np.float32)
        self._convs = []
        side = _FRAME_SIDE
        for number in range(_NUM_CONVS):
            conv = _Conv(weights[f"encoder.{number}.weight"], weights[f"encoder.{number}.bias"], side)
            self._convs.append(conv)
            side = conv.output_side
        # The first layer takes bytes: their division by 255 is in its weights.
        self._convs[0].weights /= np.float32(255)
        heads = np.concatenate([weights["mean.weight"], weights["log_variance.weight"]])
        # PyTorch flattens (channel, row, column), we hold (row, column, channel).
        heads = heads.reshape(len(heads), -1, side, side).transpose(2, 3, 1, 0)
        self._heads = np.ascontiguousarray(heads.reshape(-1, heads.shape[-1]), np.float32)
        self._heads_bias = np.concatenate([weights["mean.bias"], weights["log_variance.bias"]])
        self._latent_size = len(weights["mean.bias"])

    def encode(self, frame: npt.NDArray[np.uint8]) -> tuple[Array, Array]:
        """uint8 (64, 64, 3) to the posterior's mean and log-variance, each (Z,)."""
        self._image[...] = frame
        features: Array = self._image
        for conv in self._convs:
            features = conv(features)
        outputs = features.reshape(-1) @ self._heads + self._heads_bias
        return outputs[: self._latent_size], outputs[self._latent_size :]


class _Conv:
    """A 4x4 convolution of stride 2 and a ReLU on (side, side, I), with buffers of its own."""

    def __init__(self, weights: Array, bias: Array, side: int) -> None:
        outputs, inputs = weights.shape[:2]
        self.output_side = (side - _KERNEL) // _STRIDE + 1
        self.weights = np.ascontiguousarray(weights.transpose(2, 3, 1, 0).reshape(-1, outputs))
        self._bias = bias
        self._patches = np.empty((self.output_side, self.output_side, _KERNEL, _KERNEL * inputs), np.float32)
        self._outputs = np.empty((self.output_side**2, outputs), np.float32)

    def __call__(self, image: Array) -> Array:
        row, column, _ = image.strides
        # Each row of a patch, 4 pixels of I channels, is contiguous in the image.
        strides = (_STRIDE * row, _STRIDE * column, row, image.itemsize)
        np.copyto(self._patches, as_strided(image, self._patches.shape, strides))
        np.dot(self._patches.reshape(len(self._outputs), -1), self.weights, out=self._outputs)
        self._outputs += self._bias
        np.maximum(self._outputs, 0, out=self._outputs)
        return self._outputs.reshape(self.output_side, self.output_side, -1)
