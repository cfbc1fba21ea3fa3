"""PyTorch modules as ONNX graphs without weights: a checkpoint keeps a graph of a few kilobytes beside its arrays."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import onnx
import torch
from torch import Tensor, nn

from vmc.errors import VmcError

_OPSET = 17  # known to every ONNX Runtime that we allow


def export_graph(module: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str], outputs: Sequence[str]) -> bytes:
    """A wrapper's graph, whose weights are named as in the wrapped model's `state_dict`.

    Args:
        module: a wrapper that holds the model as `model`.
        inputs: examples, on the CPU; their shapes are the graph's.
        names, outputs: of inputs and outputs.

    Returns:
        A serialised ONNX model, for `vmc.models.graph.make_session`.

    Raises:
        VmcError: a weight has the name of an input or output.
    """
    weights = {name: name.removeprefix("model.") for name in module.state_dict()}
    for name in {*names, *outputs} & {*weights.values()}:
        raise VmcError(
            f"{type(module.model).__name__} has a weight named {name!r}, which is the name of an input or output, too.",
            "Give this attribute of the model another name.",
        )
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # The exporter by tracing: the newer one takes ten seconds and another package. It warns of its own age.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            inputs,
            buffer,  # type: ignore[arg-type]
            input_names=list(names),
            output_names=list(outputs),
            opset_version=_OPSET,
            dynamo=False,
            do_constant_folding=False,  # folded weights would have lost their names
        )
    graph = onnx.load_from_string(buffer.getvalue())
    # The exporter makes aliases of weights that are equal; after training they are not.
    nodes = [node for node in graph.graph.node if node.output[0] not in weights]
    del graph.graph.initializer[:], graph.graph.node[:]
    graph.graph.node.extend(nodes)
    for node in graph.graph.node:
        node.doc_string = ""
        node.input[:] = [weights.get(name, name) for name in node.input]
    data: bytes = graph.SerializeToString()
    return data
