"""Exported graphs: small, without weights, the same for every training of one shape."""

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from vmc.envs import FRAME_SHAPE, PREPROCESSING
from vmc.errors import VmcError
from vmc.models.chunks import decode_frames
from vmc.models.dynamics import KINDS as DYNAMICS
from vmc.models.export import export_graph
from vmc.models.graph import make_session
from vmc.models.loading import arrays_of, dynamics_graphs, make_dynamics, make_vision, vision_graphs
from vmc.models.vision import KINDS as VISIONS
from vmc.models.vision.contract import Vision
from vmc.models.vision.decoder import Decoder
from vmc.storage.rollouts import FrameKind

EXPORTED = [kind for kind in DYNAMICS if not DYNAMICS[kind].has_own_step]


def _model(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind in VISIONS:
        return make_vision(kind, FRAME_SHAPE if VISIONS[kind].sees == PREPROCESSING else (5,), 5)
    return make_dynamics(kind, latent_size=5, action_size=2, hidden_size=16, mixture="per-dimension")


def _graphs(kind: str) -> dict[str, bytes]:
    model = _model(kind)
    if kind not in VISIONS:
        return dynamics_graphs(kind, model)
    frame_kind = FrameKind(FRAME_SHAPE, "uint8") if VISIONS[kind].sees == PREPROCESSING else FrameKind((5,), "float32")
    return vision_graphs(model, frame_kind)


@pytest.mark.parametrize("kind", [*VISIONS])
def test_the_decoder_for_one_latent_is_vs_own(kind: str) -> None:
    vae = _model(kind).eval()
    assert isinstance(vae, Vision)
    latent = np.random.default_rng(0).standard_normal(vae.settings.latent_size, np.float32)
    expected = decode_frames(vae, torch.from_numpy(latent)[None])[0].numpy()
    found = Decoder(vae).decode(latent)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    # One grey level: a sum may be rounded otherwise.
    np.testing.assert_allclose(
        found.astype(float), expected.astype(float), rtol=1e-5, atol=1 if found.ndim > 1 else 1e-6
    )


@pytest.mark.parametrize("kind", [*VISIONS, *EXPORTED, "tiny_dynamics:TinyDynamics"])
def test_graphs_hold_no_weights_and_no_traces_of_this_machine(kind: str) -> None:
    arrays, graphs = arrays_of(_model(kind)), _graphs(kind)
    assert graphs
    for data in graphs.values():
        graph = onnx.load_from_string(data).graph
        assert len(graph.initializer) == 0
        constants = [a.t for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
        for constant in map(onnx.numpy_helper.to_array, constants):
            # A shape, positions of tokens and which of them see each other, or the zeros of a first state.
            assert constant.size <= 8 or (constant == constant.round()).all()
        assert len(data) < 100_000
        for trace in (b".py", b"/work", b"/home", b"site-packages", __file__.encode()):
            assert trace not in data
        for array in arrays.values():
            assert array.size < 8 or array.tobytes() not in data
    nodes = [node for data in graphs.values() for node in onnx.load_from_string(data).graph.node]
    assert {name.removeprefix("model.") for node in nodes for name in node.input} & arrays.keys()
    assert graphs == _graphs(kind)


def test_a_kind_with_a_step_of_its_own_has_no_graphs() -> None:
    assert _graphs("lstm") == {}


class _TwoLayers(nn.Module):
    """Weights that begin equal, as the biases and norms of many networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(3, 3), nn.Linear(3, 3), nn.LayerNorm(3)
        for layer in (self.first, self.second):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.second(self.first(x).tanh()))


class _Wrapper(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


@torch.no_grad()
def test_weights_that_are_equal_at_the_export_stay_apart() -> None:
    torch.manual_seed(0)
    model, example = _TwoLayers(), torch.randn(1, 3)
    graph = export_graph(_Wrapper(model), (example,), ["x"], ["y"])
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter))
    (found,) = make_session(graph, arrays_of(model)).run(None, {"x": example.numpy()})
    np.testing.assert_allclose(found, model(example), atol=1e-6)


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_weight_with_the_name_of_an_input_or_output_is_refused(name: str) -> None:
    """It would take the input's place in the graph, without a word."""
    model = _TwoLayers()
    model.register_buffer(name, torch.ones(3))
    with pytest.raises(VmcError, match=f"_TwoLayers has a weight named {name!r}"):
        export_graph(_Wrapper(model), (torch.randn(1, 3),), ["x"], ["y"])


class _Tied(nn.Module):
    """Two layers with one weight, a constant that is not stored, and one that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        nn.init.ones_(self.first.bias)
        self.register_buffer("offset", torch.ones(3), persistent=False)
        self.scale = torch.full((3,), 2.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).tanh()) * self.scale + self.offset


@torch.no_grad()
def test_tied_weights_and_constants_are_kept() -> None:
    torch.manual_seed(0)
    model, example = _Tied(), torch.randn(1, 3)
    graph = export_graph(_Wrapper(model), (example,), ["x"], ["y"])
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter))
    (found,) = make_session(graph, arrays_of(model)).run(None, {"x": example.numpy()})
    np.testing.assert_allclose(found, model(example), atol=1e-6)
