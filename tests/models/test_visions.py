"""The kinds of V: those for vectors, and which kind fits what."""

import numpy as np
import pytest
import torch

from vmc.envs import PREPROCESSING, VECTORS
from vmc.errors import VmcError
from vmc.models.loading import make_vision, vision_info
from vmc.models.vision import KINDS, choose_vision, sees, vision_class
from vmc.models.vision.contract import CERTAIN_LOG_VARIANCE, Vision, vae_loss
from vmc.models.vision.dense import DenseSettings, DenseVAE

VECTOR_DATA = np.random.default_rng(0).normal([5, -1, 0], [2, 0.1, 0], (500, 3)).astype(np.float32)


def _prepared(kind: str) -> Vision:
    torch.manual_seed(0)
    vae = make_vision(kind, (3,), 32).eval().requires_grad_(False)
    vae.prepare(lambda: VECTOR_DATA)
    return vae


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
    vae = DenseVAE(DenseSettings(3, 2))
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
    assert make_vision("dense", (3,), 32).settings.latent_size == 3
    assert make_vision("dense", (100,), 32).settings.latent_size == 32


def test_what_was_asked_for_comes_first_and_must_fit() -> None:
    assert choose_vision(None, "CarRacing-v3", PREPROCESSING) == "conv"
    assert choose_vision(None, "CartPole-v1", VECTORS) == "identity"
    assert choose_vision("dense", "CartPole-v1", VECTORS) == "dense"
    with pytest.raises(VmcError, match="shows vectors, and V of kind 'conv' sees pictures") as caught:
        choose_vision("conv", "CartPole-v1", VECTORS)
    assert "--vision identity or dense" in str(caught.value)
    with pytest.raises(VmcError, match="shows pictures, and V of kind 'dense' sees vectors"):
        choose_vision("dense", "CarRacing-v3", PREPROCESSING)


def test_another_kind_is_named_by_module_and_class() -> None:
    place = "vmc.models.vision.dense:DenseVAE"
    assert vision_class(place) is DenseVAE
    assert sees(place) == VECTORS
    assert choose_vision(place, "CartPole-v1", VECTORS) == place
    assert vision_info(place, make_vision(place, (3,), 2)) == {
        "kind": place,
        "model": {"input_size": 3, "latent_size": 2, "hidden_units": 64},
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dens", r"no V of kind 'dens'(.|\n)*Did you mean 'dense'(.|\n)*Or give module:Class"),
        ("nowhere:Vision", r"'nowhere:Vision' cannot be imported(.|\n)*PYTHONPATH"),
        ("vmc.models.vision.dense:Sparse", "cannot be imported"),
    ],
)
def test_a_kind_that_does_not_exist_is_an_error_that_says_what_to_do(name: str, message: str) -> None:
    with pytest.raises(VmcError, match=message):
        make_vision(name, (3,), 2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_made(kind: str) -> None:
    pictures = sees(kind) == PREPROCESSING
    shape = (64, 64, 3) if pictures else (5,)
    frames = torch.from_numpy(np.zeros((2, *shape), np.uint8 if pictures else np.float32))
    vae = make_vision(kind, shape, 8)
    mean, log_variance = vae.encode(vae.to_input(frames))
    assert mean.shape == log_variance.shape == (2, vae.settings.latent_size)
    assert vae.latent_mask.shape == (vae.settings.latent_size,)
    assert vae.latent_mask.all()
    assert vae.decodes_pictures == pictures
    assert vae.sees == sees(kind)
    decoded = vae.to_frames(vae.decode(mean))
    assert (decoded.shape, decoded.dtype) == (frames.shape, frames.dtype)


@pytest.mark.parametrize("kind", ["identity", "dense"])
def test_vectors_survive_the_way_to_the_network_and_back(kind: str) -> None:
    vae, vectors = _prepared(kind), torch.from_numpy(VECTOR_DATA)
    torch.testing.assert_close(vae.to_frames(vae.to_input(vectors)), vectors)
