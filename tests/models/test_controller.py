import numpy as np
import pytest
import torch
from torch import nn

from vmc.models.controller import INPUTS, LinearController, LinearSettings, population_outputs

SHAPES = [(inputs, hidden_units) for inputs in INPUTS for hidden_units in (0, 4)]


def _settings(inputs: str, widths: dict[str, int], action_size: int, hidden_units: int) -> LinearSettings:
    return LinearSettings(inputs, sum(widths[name] for name in inputs), action_size, hidden_units)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (LinearSettings("zh", 32 + 256, 3), 867),
        (LinearSettings("zch", 64 + 512 + 512, 1), 1089),  # the paper's 1,088 leave out the bias
        (LinearSettings("z", 32, 3), 99),
        (LinearSettings("z", 32, 3, 40), 40 * 33 + 3 * 41),
    ],
)
def test_parameter_counts_are_the_papers(settings: LinearSettings, count: int) -> None:
    assert settings.num_parameters == count


def test_outputs_are_weights_times_inputs_plus_bias() -> None:
    settings = LinearSettings("zh", input_size=3, action_size=2)
    controller = LinearController(settings, np.array([1, 2, 3, 4, 5, 6, 10, 20.0]))
    controller.reset(np.random.default_rng(0))
    features = {"z": np.float32([1, 0]), "h": np.float32([2]), "c": np.float32([99])}
    np.testing.assert_array_equal(controller.act(features), [1 + 6 + 10, 4 + 12 + 20])


@pytest.mark.parametrize(("inputs", "hidden_units"), SHAPES)
def test_numpy_equals_layers_of_pytorch(inputs: str, hidden_units: int) -> None:
    settings = _settings(inputs, {"z": 3, "h": 5, "c": 5}, 2, hidden_units)
    layers = [nn.Linear(i, o) for o, i in settings.layers]
    module = nn.Sequential(layers[0], nn.Tanh(), layers[1]) if hidden_units else layers[0]
    parameters = torch.cat([p.flatten() for layer in layers for p in (layer.weight, layer.bias)]).detach().numpy()
    seen = {"z": torch.randn(3), "h": torch.randn(5), "c": torch.randn(5)}
    expected = module(torch.cat([seen[name] for name in inputs])).detach()
    found = LinearController(settings, parameters).act({name: part.numpy() for name, part in seen.items()})
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("inputs", "hidden_units"), SHAPES)
def test_the_batch_in_torch_equals_numpy_one_by_one(inputs: str, hidden_units: int) -> None:
    rng = np.random.default_rng(0)
    widths = {"z": 32, "h": 256, "c": 256}
    settings = _settings(inputs, widths, 3, hidden_units)
    parameters = rng.standard_normal((4, settings.num_parameters)).astype(np.float32)
    features = {name: rng.standard_normal((20, width), np.float32) for name, width in widths.items()}
    in_torch = {name: torch.from_numpy(part) for name, part in features.items()}
    batch = population_outputs(settings, torch.from_numpy(parameters), in_torch)
    assert batch.shape == (20, 3)
    for row in range(20):
        controller = LinearController(settings, parameters[row // 5])
        expected = controller.act({name: part[row] for name, part in features.items()})
        np.testing.assert_allclose(batch[row], expected, rtol=1e-4, atol=1e-4)
