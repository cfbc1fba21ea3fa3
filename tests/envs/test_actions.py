"""Discrete actions as vectors, and their action maps."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from vmc.envs import BoxActionMap, action_map_of, make_env
from vmc.envs.action_map import OneHotActionMap
from vmc.envs.actions import OneHot, OneHotActions, ScalarActions, action_map_for, with_vector_actions


class _Discrete(gym.Env[int, int]):
    """Three discrete actions: 5, 6 and 7."""

    observation_space = gym.spaces.Discrete(1)
    action_space = gym.spaces.Discrete(3, start=5)


def test_the_largest_output_wins_in_numpy_and_in_torch() -> None:
    action_map = OneHotActionMap(3)
    outputs = np.array([[0.1, 0.2, -1.0], [5.0, 5.0, 5.0], [-3.0, -2.0, -1.0]], np.float32)
    expected = np.eye(3, dtype=np.float32)[[1, 0, 2]]
    np.testing.assert_array_equal(action_map(outputs), expected)
    np.testing.assert_array_equal(action_map.torch(torch.from_numpy(outputs)).numpy(), expected)
    assert action_map(outputs).dtype == np.float32
    assert action_map.torch(torch.zeros(2, 4, 3, dtype=torch.float64)).dtype == torch.float64
    assert action_map(np.zeros((2, 4, 3))).shape == (2, 4, 3)


def test_every_action_is_drawn() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([OneHotActionMap(3).sample(rng) for _ in range(300)])
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn.sum(axis=1), 1)
    assert (drawn.sum(axis=0) > 60).all()


def test_a_one_hot_vector_is_the_environments_own_action() -> None:
    env = OneHotActions(_Discrete())
    assert [env.action(row) for row in np.eye(3, dtype=np.float32)] == [5, 6, 7]
    assert isinstance(env.action_space, OneHot)
    assert env.action_space.contains(env.action_space.sample())
    assert action_map_for(env.action_space) == OneHotActionMap(3)


def test_a_scalar_is_cut_at_the_papers_thresholds() -> None:
    env = ScalarActions(_Discrete())
    values = [-1.0, -0.34, -0.33, 0.0, 0.33, 0.34, 1.0]
    assert [env.action(np.array([value], np.float32)) for value in values] == [5, 5, 6, 6, 6, 7, 7]
    assert isinstance(action_map_for(env.action_space), BoxActionMap)


@pytest.mark.parametrize(
    ("space", "scalar", "told"),
    [
        (gym.spaces.MultiDiscrete([2, 3]), False, "neither a bounded one-dimensional Box nor Discrete"),
        (gym.spaces.Box(-np.inf, np.inf, (2,)), False, "neither a bounded"),
        (gym.spaces.Box(-1, 1, (2, 2)), False, "neither a bounded"),
        (gym.spaces.Box(-1, 1, (0,)), False, "its Box of actions is empty"),
        (gym.spaces.Box(-1, 1, (2,)), True, "scalar actions are for discrete actions"),
    ],
)
def test_what_does_not_fit_is_told(space: gym.Space[np.ndarray], scalar: bool, told: str) -> None:
    env = _Discrete()
    env.action_space = space  # type: ignore[assignment]
    with pytest.raises(ValueError, match=told):
        with_vector_actions(env, scalar)


def test_a_made_environment_takes_what_its_squash_gives() -> None:
    env = make_env("CartPole-v1")
    action_map = action_map_of("CartPole-v1", env)
    env.reset(seed=0)
    frame = env.step(action_map(np.array([0.0, 1.0])))[0]
    assert (frame.shape, frame.dtype) == ((4,), np.float32)
    assert frame[1] > 0  # action 1 pushes to the right
    env.close()


def test_a_tasks_squash_is_for_its_box_alone() -> None:
    """Names with other arguments use the entry of `CarRacing-v3`, whose action has three dimensions; here A is 5."""
    name = "CarRacing-v3,continuous=False,lap_complete_percent=0.9"
    env = make_env(name)
    assert action_map_of(name, env) == OneHotActionMap(5)
    env.close()
