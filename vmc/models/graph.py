"""Exported graphs in ONNX Runtime, on one CPU thread. No torch: worker processes use this."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper


def make_session(graph: bytes, weights: Mapping[str, npt.NDArray[Any]]) -> Any:
    """An inference session of a graph from `vmc.models.export.export_graph`.

    Args:
        weights: the model's arrays by their PyTorch names, as in its checkpoint.
    """
    model = onnx.load_from_string(graph)
    used = {name for node in model.graph.node for name in node.input}
    for name in used & weights.keys():
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weights[name]), name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors: it warns of weights that it has folded
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
