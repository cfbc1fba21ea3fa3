"""Exported graphs in ONNX Runtime, on one CPU thread. No torch: worker processes use this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper


def used_weights(graph: bytes, weights: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Those of a model's arrays that a graph reads."""
    return _used(onnx.load_from_string(graph), weights)


def make_session(graph: bytes, weights: Mapping[str, npt.NDArray[Any]]) -> Any:
    """An inference session of a graph from `vmc.models.export.export_graph`.

    Args:
        weights: the model's arrays by their PyTorch names, as in its checkpoint.
    """
    model = onnx.load_from_string(graph)
    for name, array in _used(model, weights).items():
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors: it warns of weights that it has folded
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _used(model: onnx.ModelProto, weights: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    read = {name for node in model.graph.node for name in node.input}
    return {name: array for name, array in weights.items() if name in read}
