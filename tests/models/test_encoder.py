"""V's encoder in worker processes: its exported graph against PyTorch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ToyRun

from vmc.envs import FRAME_SHAPE, PREPROCESSING
from vmc.models.loading import arrays_of, load_vae, make_vision, vision_graphs, vision_info
from vmc.models.vision import KINDS
from vmc.models.vision.contract import CERTAIN_LOG_VARIANCE, Vision
from vmc.models.vision.encoder import Encoder
from vmc.storage.checkpoint import Checkpoint
from vmc.storage.rollouts import FrameKind, RolloutDataset

MASKS = {"all": None, "some": [1, 4], "none": [0, 1, 2, 3, 4]}


def _frames(kind: str) -> np.ndarray:
    """Frames as they are stored, the darkest and the brightest among them."""
    rng = np.random.default_rng(0)
    if KINDS[kind].sees == PREPROCESSING:
        noise = rng.integers(0, 256, (3, *FRAME_SHAPE), dtype=np.uint8)
        return np.concatenate([noise, np.zeros((1, *FRAME_SHAPE), np.uint8), np.full((1, *FRAME_SHAPE), 255, np.uint8)])
    return rng.normal([5, -1, 0, 100, 2], [2, 0.1, 0, 30, 1], (50, 5)).astype(np.float32)


def _trained(kind: str, unused: list[int] | None) -> tuple[Vision, Checkpoint]:
    """A V whose weights came after its graph, as in training, and its checkpoint."""
    torch.manual_seed(0)
    frames = _frames(kind)
    untrained, vae = (make_vision(kind, frames.shape[1:], 5).eval().requires_grad_(False) for _ in range(2))
    vae.prepare(lambda: frames)
    if unused is not None:
        vae.latent_mask[unused] = False
    graphs = vision_graphs(untrained, FrameKind(frames.shape[1:], frames.dtype.name))
    return vae, Checkpoint(Path("x"), vision_info(kind, vae), arrays_of(vae), {}, "", graphs)


@pytest.mark.parametrize("unused", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_encoder_equals_torch(kind: str, unused: list[int] | None) -> None:
    vae, checkpoint = _trained(kind, unused)
    encoder, frames = Encoder(checkpoint), _frames(kind)
    means, log_variances = vae.encode(vae.to_input(torch.from_numpy(frames)))
    for frame, *expected in zip(frames, means, log_variances, strict=True):
        in_torch, found = vae.encode_frame(torch.from_numpy(frame)), encoder.encode(frame)
        for array, alone, in_a_batch in zip(found, in_torch, expected, strict=True):
            assert (array.shape, array.dtype) == ((5,), np.float32)
            np.testing.assert_allclose(array, alone, atol=1e-5, rtol=1e-5)
            np.testing.assert_allclose(array, in_a_batch, atol=1e-5, rtol=1e-5)
        assert (found[0][unused or []] == 0).all()
        assert (found[1][unused or []] == np.float32(CERTAIN_LOG_VARIANCE)).all()


def test_a_trained_encoder_agrees_with_torch_too(toy_session: ToyRun) -> None:
    """Trained weights are larger than fresh ones."""
    vae, checkpoint = load_vae(toy_session.run)
    dataset = RolloutDataset(toy_session.data)
    frames = dataset.frames(dataset.episodes[0])
    encoder = Encoder(checkpoint)
    expected = vae.encode(vae.to_input(torch.from_numpy(frames)))
    found = [encoder.encode(frame) for frame in frames]
    for arrays, tensor in zip(zip(*found, strict=True), expected, strict=True):
        np.testing.assert_allclose(arrays, tensor, atol=1e-5, rtol=1e-5)
