import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vmc.dream.kernels import lstm_cell, sample
from vmc.models.mixture import MAX_LOG_STD, MIN_LOG_STD, mixture_from_fields, sample_mixture

FLOATS = st.floats(-60, 60, width=32)


@settings(deadline=None)
@given(gates=arrays(np.float32, (3, 20), elements=FLOATS), c=arrays(np.float32, (3, 5), elements=FLOATS))
def test_the_cell_is_the_lstms(gates: np.ndarray, c: np.ndarray) -> None:
    h, next_c = np.empty_like(c), np.empty_like(c)
    lstm_cell(gates, c, h, next_c)
    i, f, g, o = torch.from_numpy(gates).double().chunk(4, dim=1)
    expected_c = f.sigmoid() * torch.from_numpy(c) + i.sigmoid() * g.tanh()
    np.testing.assert_allclose(next_c, expected_c, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(h, o.sigmoid() * expected_c.tanh(), rtol=1e-6, atol=1e-6)


@settings(deadline=None)
@given(
    outputs=arrays(np.float32, (2, 3 * 4 * 3 + 2), elements=st.floats(-30, 30, width=32)),
    seed=st.integers(0, 1000),
    temperature=st.sampled_from([0.1, 1.0, 1.3]),
)
def test_samples_are_the_mixtures(outputs: np.ndarray, seed: int, temperature: float) -> None:
    """Against the PyTorch version in double precision; draws within rounding of a component's border are left out."""
    rng = np.random.default_rng(seed)
    uniform, normal = rng.random((2, 3), np.float32), rng.standard_normal((2, 3), np.float32)
    latents = np.empty((2, 3), np.float32)
    sample(outputs, uniform, normal, temperature, (MIN_LOG_STD, MAX_LOG_STD), latents)
    fields = torch.from_numpy(outputs[:, :-2]).double().unflatten(1, (3, 4, 3)).transpose(2, 3)
    mixture = mixture_from_fields(fields)
    cumulative = (mixture.log_weights / temperature).softmax(dim=-1).cumsum(dim=-1)
    clear = ((cumulative - torch.from_numpy(uniform)[..., None]).abs() > 1e-5).all(dim=-1).numpy()
    expected = sample_mixture(mixture, torch.from_numpy(uniform), torch.from_numpy(normal), temperature).numpy()
    np.testing.assert_allclose(latents[clear], expected[clear], rtol=1e-5, atol=1e-5)
