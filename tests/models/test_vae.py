import torch
from torch.distributions import Normal, kl_divergence

from vmc.models.vision.contract import CERTAIN_LOG_VARIANCE, sample_latent, vae_loss
from vmc.models.vision.contract import kl_divergence as ours
from vmc.models.vision.conv import ConvSettings, ConvVAE, to_frames, to_input


def test_parameter_counts_are_the_papers() -> None:
    assert sum(p.numel() for p in ConvVAE().parameters()) == 4_348_547
    assert sum(p.numel() for p in ConvVAE(ConvSettings(64)).parameters()) == 4_446_915


def test_shapes_and_range() -> None:
    torch.manual_seed(0)
    images = torch.rand(3, 3, 64, 64)
    reconstruction, mean, log_variance = ConvVAE()(images, torch.randn(3, 32))
    assert reconstruction.shape == images.shape
    assert mean.shape == log_variance.shape == (3, 32)
    assert 0 <= reconstruction.min() <= reconstruction.max() <= 1


def test_kl_is_that_of_torch_distributions() -> None:
    torch.manual_seed(1)
    mean, log_variance = torch.randn(5, 32), torch.randn(5, 32)
    prior = Normal(torch.zeros(5, 32), torch.ones(5, 32))
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), prior)
    torch.testing.assert_close(ours(mean, log_variance), expected)


def test_loss_sums_over_pixels_and_floors_kl_per_frame() -> None:
    images = torch.zeros(2, 3, 64, 64)
    reconstruction = torch.full_like(images, 0.5)
    mean = torch.zeros(2, 32)
    mean[1] = 2.0  # KL 2 nats a dimension; the other frame has none
    loss = vae_loss(images, reconstruction, mean, torch.zeros(2, 32))
    assert loss.reconstruction.item() == 0.25 * 3 * 64 * 64
    assert loss.kl.item() == (0 + 64) / 2
    # The floor is 0.5 * 32 = 16 nats for each frame by itself: (16 + 64) / 2, not max(32, 16).
    assert loss.total.item() == loss.reconstruction.item() + 40


def test_below_the_floor_kl_has_no_gradient() -> None:
    mean = torch.full((1, 32), 0.1, requires_grad=True)
    images = torch.zeros(1, 3, 64, 64)
    vae_loss(images, images, mean, torch.zeros(1, 32)).total.backward()
    assert mean.grad is not None
    assert not mean.grad.any()


def test_frames_survive_the_way_to_the_network_and_back() -> None:
    frames = torch.arange(256, dtype=torch.uint8).repeat(48).view(1, 64, 64, 3)
    assert torch.equal(to_frames(to_input(frames)), frames)
    assert to_input(frames).is_contiguous(memory_format=torch.channels_last)


def test_samples_have_the_posteriors_moments() -> None:
    # 40,000 draws: a standard error of 0.0075 for the mean and 0.0053 for the standard deviation, so 0.04 is
    # more than 5 of them: this fails less than once in 10^6.
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(40_000, generator=generator)
    z = sample_latent(torch.tensor(0.7), torch.tensor(1.5).square().log(), noise)
    assert abs(z.mean() - 0.7) < 0.04
    assert abs(z.std() - 1.5) < 0.04


@torch.no_grad()
def test_masked_dimensions_are_zero_for_certain_and_the_others_as_before() -> None:
    torch.manual_seed(3)
    vae, images = ConvVAE(), torch.rand(4, 3, 64, 64)
    unused = torch.zeros(32, dtype=torch.bool)
    unused[[0, 5, 31]] = True
    mean, log_variance = vae.encode(images)
    vae.latent_mask.copy_(~unused)
    masked_mean, masked_log_variance = vae.encode(images)
    assert (masked_mean[:, unused] == 0).all()
    assert (masked_log_variance[:, unused] == CERTAIN_LOG_VARIANCE).all()
    assert torch.equal(masked_mean[:, ~unused], mean[:, ~unused])
    assert torch.equal(masked_log_variance[:, ~unused], log_variance[:, ~unused])
    # The mask is beside the network: the posterior itself stays, and so does what training learns from.
    for found, expected in zip(vae.posterior(images), (mean, log_variance), strict=True):
        assert torch.equal(found, expected)


@torch.no_grad()
def test_masked_dimensions_do_not_reach_the_decoder() -> None:
    torch.manual_seed(4)
    vae, images = ConvVAE(), torch.rand(2, 3, 64, 64)
    vae.latent_mask[[1, 2]] = False
    noise = torch.randn(2, 32)
    other = noise.clone()
    other[:, [1, 2]] *= -1
    torch.testing.assert_close(vae(images, noise)[0], vae(images, other)[0], atol=1e-4, rtol=0)
    assert "latent_mask" in vae.state_dict()
    assert vae.state_dict()["latent_mask"].dtype == torch.bool


def test_the_decoder_is_that_of_the_paper() -> None:
    """It computes the first and the last layer in other ways."""
    torch.manual_seed(0)
    model, latents = ConvVAE(), torch.randn(3, 32)
    images = model.expand(latents)[:, :, None, None]
    *hidden, last = model.decoder
    for deconv in hidden:
        images = torch.relu(deconv(images))
    torch.testing.assert_close(model.decode(latents), torch.sigmoid(last(images)), rtol=1e-5, atol=1e-6)
