"""V's encoder for one frame on one CPU thread, for each kind of V.

At batch 1 a framework's overhead rivals the arithmetic, and worker processes should not import torch. ONNX Runtime
runs the four convolutions in a sixth of eager PyTorch's time (measured in DECISIONS.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from vmc.models.visions import CERTAIN_LOG_VARIANCE, DEFAULT_VISION
from vmc.storage.checkpoint import Checkpoint

Array = npt.NDArray[np.float32]
Weights = Mapping[str, npt.NDArray[Any]]
_NUM_CONVS, _STRIDE, _FRAME_SIDE = 4, 2, 64
# Old enough for every ONNX Runtime that we allow; its operators here have not changed since.
_OPSET, _IR_VERSION = 13, 8


class Encoder(Protocol):
    """A frame to its latent."""

    @property
    def latent_size(self) -> int:
        """Z."""
        ...

    def encode(self, frame: npt.NDArray[Any]) -> tuple[Array, Array]:
        """A frame, as `vmc.envs.make_env` gives it, to the posterior's mean and log-variance, each (Z,)."""
        ...


class Vision:
    """A picture to its latent. The decoder is never run here.

    Args:
        weights: V's arrays by their PyTorch names, as in its checkpoint.
    """

    def __init__(self, weights: Weights) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = _encoder(weights).SerializeToString()
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.latent_size = len(weights["mean.bias"])

    def encode(self, frame: npt.NDArray[np.uint8]) -> tuple[Array, Array]:
        """uint8 (64, 64, 3) to the posterior's mean and log-variance, each (Z,)."""
        (outputs,) = self._session.run(None, {"frame": frame})
        return outputs[0, : self.latent_size], outputs[0, self.latent_size :]


class DenseVision:
    """A vector to its latent, by the dense VAE.

    Args:
        weights: V's arrays by their PyTorch names, as in its checkpoint.
    """

    def __init__(self, weights: Weights) -> None:
        self._centre, self._spread = weights["centre"], weights["spread"]
        self._layer = weights["encoder.weight"], weights["encoder.bias"]
        self._heads = tuple(
            np.concatenate([weights[f"mean.{part}"], weights[f"log_variance.{part}"]]) for part in ("weight", "bias")
        )
        self.latent_size = len(weights["mean.bias"])

    def encode(self, frame: npt.NDArray[np.float32]) -> tuple[Array, Array]:
        """float32 (D,) to the posterior's mean and log-variance, each (Z,)."""
        features = np.maximum(self._layer[0] @ ((frame - self._centre) / self._spread) + self._layer[1], 0)
        outputs = self._heads[0] @ features + self._heads[1]
        return outputs[: self.latent_size], outputs[self.latent_size :]


class IdentityVision:
    """A vector to itself, standardised.

    Args:
        weights: V's arrays by their PyTorch names, as in its checkpoint.
    """

    def __init__(self, weights: Weights) -> None:
        self._centre, self._spread = weights["centre"], weights["spread"]
        self.latent_size = len(self._centre)
        self._log_variance = np.full(self.latent_size, CERTAIN_LOG_VARIANCE, np.float32)

    def encode(self, frame: npt.NDArray[np.float32]) -> tuple[Array, Array]:
        """float32 (D,) to the posterior's mean and log-variance, each (D,)."""
        latent: Array = np.divide(frame - self._centre, self._spread, dtype=np.float32)
        return latent, self._log_variance


_ENCODERS: dict[str, Callable[[Weights], Encoder]] = {
    "conv": Vision,
    "dense": DenseVision,
    "identity": IdentityVision,
}


def make_encoder(vae: Checkpoint) -> Encoder:
    """The encoder of a run's V, of whatever kind."""
    return _ENCODERS[vae.info.get("vision", DEFAULT_VISION)](vae.weights)


def _encoder(weights: Weights) -> ModelProto:
    """The graph from a uint8 frame to mean and log-variance, side by side, (1, 2 * Z)."""
    arrays = {name: np.asarray(array, np.float32) for name, array in weights.items() if name.startswith("encoder.")}
    # The first layer takes bytes: their division by 255 is in its weights.
    arrays["encoder.0.weight"] = arrays["encoder.0.weight"] / np.float32(255)
    for kind in ("weight", "bias"):
        arrays[f"heads.{kind}"] = np.concatenate([weights[f"mean.{kind}"], weights[f"log_variance.{kind}"]])
    nodes = [
        helper.make_node("Cast", ["frame"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", ["planes", "batch_axis"], ["features.0"]),
    ]
    for n in range(_NUM_CONVS):
        inputs = [f"features.{n}", f"encoder.{n}.weight", f"encoder.{n}.bias"]
        nodes.append(helper.make_node("Conv", inputs, [f"sums.{n}"], strides=[_STRIDE, _STRIDE]))
        nodes.append(helper.make_node("Relu", [f"sums.{n}"], [f"features.{n + 1}"]))
    nodes.append(helper.make_node("Flatten", [f"features.{_NUM_CONVS}"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", "heads.weight", "heads.bias"], ["posterior"], transB=1))
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    constants.append(numpy_helper.from_array(np.array([0], np.int64), "batch_axis"))
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, [_FRAME_SIDE, _FRAME_SIDE, 3])
    posterior = helper.make_tensor_value_info("posterior", TensorProto.FLOAT, [1, len(arrays["heads.bias"])])
    graph = helper.make_graph(nodes, "encoder", [frame], [posterior], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
