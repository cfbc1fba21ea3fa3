import numpy as np
import torch

from vmc.models.controller import ControllerSettings, LinearController, controller_outputs


def test_parameter_count_is_the_papers() -> None:
    assert ControllerSettings(32, 256, 3).num_parameters == 867


def test_outputs_are_weights_times_inputs_plus_bias() -> None:
    settings = ControllerSettings(latent_size=2, hidden_size=1, action_size=2)
    controller = LinearController(settings, np.array([1, 2, 3, 4, 5, 6, 10, 20.0]))
    outputs = controller(np.float32([1, 0]), np.float32([2]))
    np.testing.assert_array_equal(outputs, [1 + 6 + 10, 4 + 12 + 20])


def test_the_batch_in_torch_equals_numpy_one_by_one() -> None:
    rng = np.random.default_rng(0)
    settings = ControllerSettings(32, 256, 3)
    parameters = rng.standard_normal((4, 867)).astype(np.float32)
    latents = rng.standard_normal((4, 5, 32)).astype(np.float32)
    h = rng.standard_normal((4, 5, 256)).astype(np.float32)
    batch = controller_outputs(settings, *(torch.from_numpy(x) for x in (parameters, latents, h)))
    for p in range(4):
        controller = LinearController(settings, parameters[p])
        for r in range(5):
            np.testing.assert_allclose(batch[p, r], controller(latents[p, r], h[p, r]), rtol=1e-4, atol=1e-4)
