"""The table of environments, the action squash, and what is refused."""

from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vmc.envs import ActionSquash, action_squash, check_env, env_slug, get_task, make_env
from vmc.errors import VmcError

BOUNDS = st.floats(-1000, 1000, width=32)


def _carracing() -> ActionSquash:
    squash = get_task("CarRacing-v3").squash
    assert squash is not None
    return squash()


@pytest.mark.parametrize(
    ("output", "action"),
    [
        ([0, 0, 0], [0, 0.5, 0]),  # a zero output neither steers nor brakes, and gives half gas
        ([50, 50, 50], [1, 1, 1]),
        ([-50, -50, -50], [-1, 0, 0]),
        ([1, 1, 1], [np.tanh(1), (np.tanh(1) + 1) / 2, np.tanh(1)]),
        ([-1, -1, -1], [-np.tanh(1), (1 - np.tanh(1)) / 2, 0]),
    ],
)
def test_carracing_squash(output: list[float], action: list[float]) -> None:
    """hardmaru's: steer tanh, gas (tanh + 1) / 2, brake max(tanh, 0)."""
    found = _carracing()(np.array(output))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, action, atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(-30, 30, width=32)] * 3), min_size=1, max_size=5))
def test_numpy_and_torch_squash_agree(outputs: list[tuple[float, float, float]]) -> None:
    values = np.array(outputs, np.float32)
    from_torch = _carracing().torch(torch.from_numpy(values))
    assert from_torch.dtype == torch.float32
    np.testing.assert_allclose(from_torch.numpy(), _carracing()(values), atol=1e-6)


def test_squash_keeps_leading_dimensions_and_the_type_of_tensors() -> None:
    squash = _carracing()
    assert squash.size == 3
    assert squash(np.zeros((2, 4, 3))).shape == (2, 4, 3)
    assert squash.torch(torch.zeros(2, 4, 3, dtype=torch.float64)).dtype == torch.float64


@settings(deadline=None)
@given(st.lists(st.tuples(BOUNDS, BOUNDS), min_size=1, max_size=4), st.floats(-40, 40))
def test_from_bounds_fills_the_box_and_never_leaves_it(pairs: list[tuple[float, float]], output: float) -> None:
    low, high = np.array([sorted(pair) for pair in pairs], np.float32).T
    assume((low < high).all())
    squash = ActionSquash.from_bounds(low, high)
    box = gym.spaces.Box(low, high, dtype=np.float32)
    size = len(low)
    tolerance = 1e-5 * float(np.abs([low, high]).max())
    np.testing.assert_allclose(squash(np.full(size, 40.0)), high, atol=tolerance)
    np.testing.assert_allclose(squash(np.full(size, -40.0)), low, atol=tolerance)
    np.testing.assert_allclose(squash(np.zeros(size)), low / 2 + high / 2, atol=tolerance)
    assert box.contains(squash(np.full(size, output)))


@pytest.mark.parametrize(
    ("env_id", "near"),
    [("CarRacing-v33", "CarRacing-v3"), ("CarRacin-v3", "CarRacing-v3"), ("vmc/Toys-v0", "vmc/Toy-v0")],
)
def test_a_misspelt_environment_gets_a_suggestion(env_id: str, near: str) -> None:
    with pytest.raises(VmcError) as caught:
        make_env(env_id)
    assert env_id in str(caught.value)
    assert f"Did you mean {near}?" in str(caught.value)


@pytest.mark.parametrize("env_id", ["", "nothing like it", "no_such_module:Thing-v0", "Qqqqqqqqqqqqqqqqqq-v0"])
def test_an_unknown_environment_is_refused(env_id: str) -> None:
    with pytest.raises(VmcError, match="No environment"):
        check_env(env_id)


@pytest.mark.parametrize(
    ("env_id", "culprit"), [("CartPole-v1", "observations"), ("Pendulum-v1", "observations"), ("tests/Still-v0", "act")]
)
def test_an_environment_that_does_not_fit_is_refused(env_id: str, culprit: str, still: None) -> None:
    with pytest.raises(VmcError, match=f"{env_id} does not fit: its {culprit}") as caught:
        make_env(env_id)
    assert "uint8 pictures" in str(caught.value)


class _DiscreteActions(gym.Env[np.ndarray, np.int64]):
    """Pictures, but actions that C cannot give."""

    def __init__(self) -> None:
        self.observation_space = gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)
        self.action_space = gym.spaces.Discrete(3)


@pytest.fixture
def still() -> Iterator[None]:
    gym.register("tests/Still-v0", entry_point=_DiscreteActions)
    yield
    gym.registry.pop("tests/Still-v0")


@pytest.mark.parametrize(
    ("env_id", "slug"),
    [("CarRacing-v3", "carracing-v3"), ("vmc/Toy-v0", "vmc-toy-v0"), ("some.module:Its/Env-v1", "its-env-v1")],
)
def test_env_slug_is_a_folder_name(env_id: str, slug: str) -> None:
    assert env_slug(env_id) == slug


def test_an_environment_that_is_not_in_the_table_fills_its_box() -> None:
    env = make_env("vmc/Toy-v0")
    squash = action_squash("vmc/Toy-v0", env)
    np.testing.assert_array_equal(squash.low, [-1])
    np.testing.assert_array_equal(squash.high, [1])
    env.close()


# SWIG's types warn when Box2D is first imported; as an error this would crash the interpreter.
@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
def test_carracing_is_what_the_table_says() -> None:
    env = make_env("CarRacing-v3")
    frame, _ = env.reset(seed=0)
    assert (frame.shape, frame.dtype) == ((64, 64, 3), np.uint8)
    squash = action_squash("CarRacing-v3", env)
    assert isinstance(env.action_space, gym.spaces.Box)
    np.testing.assert_array_equal(squash.low, env.action_space.low)
    np.testing.assert_array_equal(squash.high, env.action_space.high)
    assert not env.step(squash(np.zeros(3)))[2]
    env.close()
