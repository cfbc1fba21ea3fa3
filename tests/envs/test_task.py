"""The table of environments, their action maps, and the errors for unsupported environments."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vmc.envs import (
    TASKS,
    VECTORS,
    BoxActionMap,
    Task,
    action_map_from_json,
    action_map_of,
    check_env,
    get_task,
    make_env,
)
from vmc.envs.task import DISCRETE_CARRACING
from vmc.errors import VmcError

BOUNDS = st.floats(-1000, 1000, width=32, allow_subnormal=False)  # half of the smallest subnormal is 0


def _carracing() -> BoxActionMap:
    action_map = get_task("CarRacing-v3").action_map
    assert action_map is not None
    return action_map()


@pytest.mark.parametrize(
    ("output", "action"),
    [
        ([0, 0, 0], [0, 0.5, 0]),  # outputs of 0 give no steering, half gas and no brake
        ([50, 50, 50], [1, 1, 1]),
        ([-50, -50, -50], [-1, 0, 0]),
        ([1, 1, 1], [np.tanh(1), (np.tanh(1) + 1) / 2, np.tanh(1)]),
        ([-1, -1, -1], [-np.tanh(1), (1 - np.tanh(1)) / 2, 0]),
    ],
)
def test_carracing_squash(output: list[float], action: list[float]) -> None:
    """The map of hardmaru's `carracing/model.py`: steer tanh, gas (tanh + 1) / 2, brake max(tanh, 0)."""
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
    action_map = _carracing()
    assert action_map.size == 3
    assert action_map(np.zeros((2, 4, 3))).shape == (2, 4, 3)
    assert action_map.torch(torch.zeros(2, 4, 3, dtype=torch.float64)).dtype == torch.float64


@settings(deadline=None)
@given(st.lists(st.tuples(BOUNDS, BOUNDS), min_size=1, max_size=4), st.floats(-40, 40))
def test_from_bounds_fills_the_box_and_never_leaves_it(pairs: list[tuple[float, float]], output: float) -> None:
    low, high = np.array([sorted(pair) for pair in pairs], np.float32).T
    assume((low < high).all())
    action_map = BoxActionMap.from_bounds(low, high)
    box = gym.spaces.Box(low, high, dtype=np.float32)
    size = len(low)
    tolerance = 1e-5 * float(np.abs([low, high]).max())
    np.testing.assert_allclose(action_map(np.full(size, 40.0)), high, atol=tolerance)
    np.testing.assert_allclose(action_map(np.full(size, -40.0)), low, atol=tolerance)
    np.testing.assert_allclose(action_map(np.zeros(size)), low / 2 + high / 2, atol=tolerance)
    assert box.contains(action_map(np.full(size, output)))


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
    "env_id", ["Pong-v5", "ALE/Pong-v5", "ale_py:ALE/Pong-v5", "PongNoFrameskip-v4", "PongDeterministic-v4"]
)
def test_an_atari_game_needs_its_package(env_id: str) -> None:
    with pytest.raises(VmcError, match="No environment") as caught:
        make_env(env_id)
    hint = caught.value.hint or ""
    assert "`pip install ale-py`, then `--env ale_py:ALE/Pong-v5`" in hint
    assert "Did you mean" not in hint


def test_a_near_name_of_version_5_is_no_atari_game() -> None:
    with pytest.raises(VmcError, match="Did you mean CarRacing-v3"):
        make_env("CarRacing-v5")


def test_a_module_that_is_not_found_mentions_the_path() -> None:
    with pytest.raises(VmcError, match=r"No module named 'my_module'\.\n.*put that on PYTHONPATH"):
        check_env("my_module:MyEnv-v0")


def test_a_known_environment_that_cannot_be_made_is_not_called_unknown() -> None:
    with pytest.raises(VmcError, match=r"^CartPole-v1 cannot be made: .*wheels"):
        make_env("CartPole-v1,wheels=4")


def test_an_argument_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy_module.py").write_text(
        "import gymnasium as gym\ndef make(size): raise AssertionError\ngym.register('Needs-v0', entry_point=make)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(VmcError, match=r"^needy_module:Needs-v0 cannot be made: .*'size'(.|\n)*--env-kwargs"):
        make_env("needy_module:Needs-v0")


class _Misfit(gym.Env[np.ndarray, np.int64]):
    """An environment with the given spaces; by default both are supported."""

    def __init__(self, seen: gym.Space[Any] | None = None, acts: gym.Space[Any] | None = None) -> None:
        self.observation_space = seen or gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)
        self.action_space = acts or gym.spaces.Box(-1, 1, (1,), np.float32)


@pytest.mark.parametrize(
    ("spaces", "culprit"),
    [
        ({"seen": gym.spaces.Dict({"a": gym.spaces.Discrete(2)})}, "its observations are Dict.*uint8 pictures nor"),
        ({"seen": gym.spaces.Discrete(16)}, "its observations are Discrete"),
        ({"seen": gym.spaces.Box(0, 1, (8, 8, 3), np.float32)}, "its observations are Box"),
        ({"acts": gym.spaces.MultiDiscrete([2, 2])}, "its actions are MultiDiscrete.*nor Discrete"),
        ({"acts": gym.spaces.Box(-np.inf, np.inf, (2,))}, "its actions are Box"),
    ],
)
def test_an_environment_that_does_not_fit_is_refused(spaces: dict[str, gym.Space[Any]], culprit: str) -> None:
    """The error names the space, the supported ones and the next step."""
    gym.register("tests/Misfit-v0", entry_point=_Misfit, kwargs=spaces)
    try:
        with pytest.raises(VmcError, match=f"tests/Misfit-v0 does not fit: {culprit}") as caught:
            check_env("tests/Misfit-v0")
    finally:
        gym.registry.pop("tests/Misfit-v0")
    assert "gymnasium.wrappers" in str(caught.value)


def test_an_argument_that_the_environment_does_not_know_is_told() -> None:
    with pytest.raises(VmcError, match="unexpected keyword argument 'colour'"):
        make_env("CartPole-v1,colour=red")


OWN_MODULE = """
import gymnasium as gym
from vmc.envs import Task, add_task

gym.register("OwnPole-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=20)
add_task("OwnPole-v0", Task(hidden_size=16))
"""


def test_a_module_of_ones_own_registers_and_tells_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_pole.py").write_text(OWN_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(TASKS, "OwnPole-v0", Task())  # the fixture removes it after the test
    assert get_task("own_pole:OwnPole-v0").hidden_size == 16
    assert get_task("own_pole:OwnPole-v0,pixels").hidden_size == 16
    assert check_env("own_pole:OwnPole-v0") == VECTORS
    gym.registry.pop("OwnPole-v0")


def test_the_fast_carracing_takes_discrete_actions() -> None:
    env = make_env(DISCRETE_CARRACING)
    assert type(env.unwrapped).__name__ == "FastCarRacing"
    assert action_map_of(DISCRETE_CARRACING, env).size == 5
    frame, _ = env.reset(seed=0)
    assert frame.shape == (64, 64, 3)
    env.step(np.array([0, 0, 0, 1, 0], np.float32))
    env.close()


def test_an_environment_that_is_not_in_the_table_fills_its_box() -> None:
    env = make_env("vmc/Toy-v0")
    action_map = action_map_of("vmc/Toy-v0", env)
    assert isinstance(action_map, BoxActionMap)
    np.testing.assert_array_equal(action_map.low, [-1])
    np.testing.assert_array_equal(action_map.high, [1])
    env.close()


# SWIG's types warn at the first import of Box2D; as an error the warning would crash the interpreter.
@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
def test_carracing_is_what_the_table_says() -> None:
    env = make_env("CarRacing-v3")
    frame, _ = env.reset(seed=0)
    assert (frame.shape, frame.dtype) == ((64, 64, 3), np.uint8)
    action_map = action_map_of("CarRacing-v3", env)
    assert isinstance(action_map, BoxActionMap)
    assert isinstance(env.action_space, gym.spaces.Box)
    np.testing.assert_array_equal(action_map.low, env.action_space.low)
    np.testing.assert_array_equal(action_map.high, env.action_space.high)
    assert not env.step(action_map(np.zeros(3)))[2]
    env.close()


@pytest.mark.parametrize(
    "content",
    [{}, {"one_hot": 0}, {"one_hot": "3"}, {"low": [0]}, {n: [np.nan] for n in ("offset", "scale", "low", "high")}],
)
def test_what_is_no_map_of_actions_is_told(content: dict[str, Any]) -> None:
    with pytest.raises(VmcError, match="no map of actions"):
        action_map_from_json(content)
