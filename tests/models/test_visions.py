"""The kinds of V beside the convolutional one: the same in NumPy and in PyTorch, and which fits what."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vmc.envs import PREPROCESSING, VECTORS
from vmc.errors import VmcError
from vmc.models.dense import DenseVAE, DenseVAESettings
from vmc.models.loading import make_vision
from vmc.models.vae import ConvVAE, VisionModel, vae_loss
from vmc.models.vision import make_encoder
from vmc.models.visions import CERTAIN_LOG_VARIANCE, VISIONS, choose_vision
from vmc.storage.checkpoint import Checkpoint

VECTOR_DATA = np.random.default_rng(0).normal([5, -1, 0], [2, 0.1, 0], (500, 3)).astype(np.float32)


def _prepared(kind: str) -> VisionModel:
    torch.manual_seed(0)
    vae = make_vision(kind, "CartPole-v1", (3,)).eval().requires_grad_(False)
    vae.prepare(lambda: VECTOR_DATA)
    return vae


def _checkpoint(kind: str, vae: VisionModel) -> Checkpoint:
    weights = {name: tensor.numpy() for name, tensor in vae.state_dict().items()}
    return Checkpoint(Path("x"), {"vision": kind}, weights, {}, "")


@pytest.mark.parametrize("kind", ["dense", "identity"])
def test_numpy_equals_torch(kind: str) -> None:
    vae = _prepared(kind)
    encoder = make_encoder(_checkpoint(kind, vae))
    means, log_variances = vae.encode(vae.to_input(torch.from_numpy(VECTOR_DATA)))
    assert encoder.latent_size == vae.settings.latent_size == 3
    for number in (0, 7):
        mean, log_variance = encoder.encode(VECTOR_DATA[number])
        assert mean.dtype == log_variance.dtype == np.float32
        np.testing.assert_allclose(mean, means[number], atol=1e-5)
        np.testing.assert_allclose(log_variance, log_variances[number], atol=1e-5)


def test_the_identity_is_the_standardised_vector() -> None:
    vae = _prepared("identity")
    assert list(vae.parameters()) == []
    inputs = vae.to_input(torch.from_numpy(VECTOR_DATA))
    mean, log_variance = vae.encode(inputs)
    np.testing.assert_allclose(mean.mean(dim=0), 0, atol=1e-3)
    np.testing.assert_allclose(mean.std(dim=0), [1, 1, 0], atol=1e-2)  # what never moves stays in its own units
    assert torch.equal(log_variance, torch.full_like(mean, CERTAIN_LOG_VARIANCE))
    assert torch.equal(vae.decode(mean), inputs)


def test_the_dense_vae_learns_to_reconstruct() -> None:
    """Three numbers of which one never moves: after some steps it explains most of the other two."""
    torch.manual_seed(0)
    vae = DenseVAE(DenseVAESettings(3, 2))
    vae.prepare(lambda: VECTOR_DATA)
    inputs = vae.to_input(torch.from_numpy(VECTOR_DATA))
    optimizer = torch.optim.Adam(vae.parameters(), 1e-2)
    for _ in range(200):
        loss = vae_loss(inputs, *vae(inputs, torch.randn(len(inputs), 2)), error_weight=vae.error_weight)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert loss.reconstruction.item() < 0.4  # of 2: two dimensions of unit variance


def test_the_dense_vae_has_no_more_latents_than_numbers() -> None:
    assert make_vision("dense", "CartPole-v1", (3,)).settings.latent_size == 3
    assert make_vision("dense", "CartPole-v1", (100,)).settings.latent_size == 32


def test_what_was_asked_for_comes_first_and_must_fit() -> None:
    assert choose_vision(None, "CarRacing-v3", PREPROCESSING) == "conv"
    assert choose_vision(None, "CartPole-v1", VECTORS) == "identity"
    assert choose_vision("dense", "CartPole-v1", VECTORS) == "dense"
    with pytest.raises(VmcError, match="shows vectors, and V of kind 'conv' sees pictures") as caught:
        choose_vision("conv", "CartPole-v1", VECTORS)
    assert "--vision identity or dense" in str(caught.value)
    with pytest.raises(VmcError, match="shows pictures, and V of kind 'dense' sees vectors"):
        choose_vision("dense", "CarRacing-v3", PREPROCESSING)


@pytest.mark.parametrize("kind", VISIONS)
def test_every_kind_can_be_made(kind: str) -> None:
    shape = (64, 64, 3) if VISIONS[kind] == PREPROCESSING else (5,)
    frames = np.zeros((2, *shape), np.uint8 if kind == "conv" else np.float32)
    vae = make_vision(kind, "vmc/Toy-v0", shape)
    mean, log_variance = vae.encode(vae.to_input(torch.from_numpy(frames)))
    assert mean.shape == log_variance.shape == (2, vae.settings.latent_size)


def test_a_checkpoint_from_before_there_was_a_choice_is_convolutional() -> None:
    vae = ConvVAE().eval().requires_grad_(False)
    weights = {name: tensor.numpy() for name, tensor in vae.state_dict().items()}
    assert make_encoder(Checkpoint(Path("x"), {}, weights, {}, "")).latent_size == 32
