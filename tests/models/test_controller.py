import numpy as np
import pytest
import torch
from torch import nn

from vmc.models.backbones.contract import Hidden
from vmc.models.controller import Controller, ControllerSettings, controller_outputs

SHAPES = [(inputs, hidden_units) for inputs in ("z", "zh", "zch") for hidden_units in (0, 4)]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (ControllerSettings(32, 256, 3), 867),
        (ControllerSettings(64, 512, 1, "zch"), 1089),  # the paper's 1,088 leave out the bias
        (ControllerSettings(32, 256, 3, "z"), 99),
        (ControllerSettings(32, 256, 3, "z", 40), 40 * 33 + 3 * 41),
    ],
)
def test_parameter_counts_are_the_papers(settings: ControllerSettings, count: int) -> None:
    assert settings.num_parameters == count


def test_outputs_are_weights_times_inputs_plus_bias() -> None:
    settings = ControllerSettings(latent_size=2, hidden_size=1, action_size=2)
    controller = Controller(settings, np.array([1, 2, 3, 4, 5, 6, 10, 20.0]))
    outputs = controller(np.float32([1, 0]), np.float32([2]), np.float32([99]))
    np.testing.assert_array_equal(outputs, [1 + 6 + 10, 4 + 12 + 20])


@pytest.mark.parametrize(("inputs", "hidden_units"), SHAPES)
def test_numpy_equals_layers_of_pytorch(inputs: str, hidden_units: int) -> None:
    settings = ControllerSettings(3, 5, 2, inputs, hidden_units)
    layers = [nn.Linear(i, o) for o, i in settings.layers]
    module = nn.Sequential(layers[0], nn.Tanh(), layers[1]) if hidden_units else layers[0]
    parameters = torch.cat([p.flatten() for layer in layers for p in (layer.weight, layer.bias)]).detach().numpy()
    seen = {"z": torch.randn(3), "h": torch.randn(5), "c": torch.randn(5)}
    expected = module(torch.cat([seen[name] for name in inputs])).detach()
    found = Controller(settings, parameters)(*(seen[name].numpy() for name in "zhc"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("inputs", "hidden_units"), SHAPES)
def test_the_batch_in_torch_equals_numpy_one_by_one(inputs: str, hidden_units: int) -> None:
    rng = np.random.default_rng(0)
    settings = ControllerSettings(32, 256, 3, inputs, hidden_units)
    parameters = rng.standard_normal((4, settings.num_parameters)).astype(np.float32)
    latents, h, c = (rng.standard_normal((20, size)).astype(np.float32) for size in (32, 256, 256))
    hidden = Hidden(torch.from_numpy(h), torch.from_numpy(c))
    batch = controller_outputs(settings, torch.from_numpy(parameters), torch.from_numpy(latents), hidden)
    for row in range(20):
        controller = Controller(settings, parameters[row // 5])
        np.testing.assert_allclose(batch[row], controller(latents[row], h[row], c[row]), rtol=1e-4, atol=1e-4)
