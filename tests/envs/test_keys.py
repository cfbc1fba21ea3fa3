"""A person's keys in every environment that is known."""

import gymnasium as gym
import numpy as np
import pytest

from vmc.envs import TASKS, at_rest, keyboard_of, make_env
from vmc.envs.actions import OneHot
from vmc.envs.keys import default_keyboard


@pytest.mark.parametrize("name", [*TASKS])
def test_every_key_does_something_of_its_own(name: str) -> None:
    if "Vizdoom" in name:
        pytest.importorskip("vizdoom")
    env = make_env(name)
    space = env.action_space
    env.close()
    assert isinstance(space, gym.spaces.Box)
    keyboard = keyboard_of(name, space)
    assert keyboard.fits(space)
    assert len({key.name for key in keyboard.keys}) == len(keyboard.keys)
    actions = [keyboard.action(space, {key.name: 1.0}, at_rest(space)) for key in keyboard.keys]
    assert all(space.contains(action) for action in actions)
    assert len({action.tobytes() for action in actions}) == len(actions)
    if not isinstance(space, OneHot):
        assert at_rest(space).tobytes() not in {action.tobytes() for action in actions}


def test_a_known_keyboard_gives_way_where_the_actions_are_others() -> None:
    scalar = gym.spaces.Box(-1, 1, (1,), np.float32)
    assert keyboard_of("CarRacing-v3,continuous=False", scalar) == default_keyboard(scalar)


def test_a_box_that_has_no_zero_rests_at_its_nearest_action() -> None:
    space = gym.spaces.Box(np.array([2, -1], np.float32), np.array([3, 1], np.float32))
    np.testing.assert_array_equal(at_rest(space), [2, 0])
    labels = [key.label for key in default_keyboard(space).keys]
    assert labels == ["action 0 +", "action 1 -", "action 1 +"]
