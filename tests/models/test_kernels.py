import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vmc.models.dynamics.lstm_step import lstm_cell
from vmc.models.mixture import (
    MAX_LOG_STD,
    MIN_LOG_STD,
    mixture_from_parts,
    sample_latents,
    sample_mixture,
    sample_on_cpu,
    sample_on_gpu,
)

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
    weight_sets=st.sampled_from([1, 3]),
    seed=st.integers(0, 1000),
    temperature=st.sampled_from([0.1, 1.0, 1.3]),
)
def test_samples_are_the_mixtures(outputs: np.ndarray, weight_sets: int, seed: int, temperature: float) -> None:
    """A CPU's and a GPU's, against the mixture's own in double precision.

    Draws within rounding of a component's border are left out.
    """
    rng = np.random.default_rng(seed)
    uniform, normal = rng.random((2, 3), np.float32), rng.standard_normal((2, 3), np.float32)
    latents = np.empty((2, 3), np.float32)
    outputs = np.ascontiguousarray(outputs[:, 4 * (3 - weight_sets) :])
    sample_on_cpu(outputs, 4, weight_sets, uniform, normal, temperature, (MIN_LOG_STD, MAX_LOG_STD), latents)
    parts = torch.from_numpy(outputs[:, :-2]).split([4 * weight_sets, 12, 12], dim=1)
    parts = [part.unflatten(1, (4, -1)) for part in parts]
    numbers = torch.from_numpy(uniform), torch.from_numpy(normal)
    on_gpu = sample_on_gpu(*parts, *numbers, temperature).numpy()
    chosen = sample_latents(torch.from_numpy(outputs), (4, weight_sets, 3), *numbers, temperature).numpy()
    np.testing.assert_array_equal(chosen, latents)
    mixture = mixture_from_parts(*(part.double().transpose(1, 2) for part in parts))
    cumulative = (mixture.log_weights / temperature).softmax(dim=-1).cumsum(dim=-1)
    clear = ((cumulative - numbers[0][:, :weight_sets, None]).abs() > 1e-5).all(dim=-1)
    clear = clear.expand(2, 3).numpy()
    expected = sample_mixture(mixture, *numbers, temperature).numpy()
    for found in (latents, on_gpu):
        np.testing.assert_allclose(found[clear], expected[clear], rtol=1e-5, atol=1e-5)
