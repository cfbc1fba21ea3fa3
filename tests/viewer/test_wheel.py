"""A person's hands on the keys."""

import gymnasium as gym
import numpy as np
import pytest

from vmc.envs import TASKS, Key, Keyboard
from vmc.envs.actions import OneHot
from vmc.viewer.wheel import REST_STEPS, Wheel

CARRACING = gym.spaces.Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32))


def _driving(person_drives: bool = False) -> Wheel:
    keyboard = TASKS["CarRacing-v3"].keyboard
    assert keyboard is not None
    return Wheel(keyboard, CARRACING, person_drives)


def test_without_a_key_the_controller_drives() -> None:
    assert _driving().action() is None


def test_a_key_ramps_up_to_its_full_effect_and_is_released_at_once() -> None:
    wheel = _driving()
    wheel.press("ArrowLeft", 1)
    steering = [float(wheel.action()[0]) for _ in range(8)]
    np.testing.assert_allclose(steering[:6], [-n / 6 for n in range(1, 7)], rtol=1e-6)
    assert steering[5:] == [-1, -1, -1]
    wheel.press("ArrowLeft", 0)
    np.testing.assert_array_equal(wheel.action(), [0, 0, 0])


def test_the_controller_takes_over_when_the_keys_rest() -> None:
    wheel = _driving()
    wheel.press("ArrowUp", 1)
    assert wheel.action() is not None
    wheel.press("ArrowUp", 0)
    resting = [wheel.action() for _ in range(REST_STEPS)]
    assert all(action is not None for action in resting[:-1])
    assert resting[-1] is None


def test_a_person_who_drives_alone_may_rest() -> None:
    wheel = _driving(person_drives=True)
    for _ in range(2 * REST_STEPS):
        np.testing.assert_array_equal(wheel.action(), [0, 0, 0])


def test_keys_of_a_box_add_up_within_it() -> None:
    wheel = _driving()
    for key, strength in (("ArrowLeft", 0.1), ("ArrowRight", 0.05), ("ArrowUp", 5.0), ("ArrowDown", 0.1), ("x", 1)):
        wheel.press(key, strength)
    for _ in range(7):
        action = wheel.action()
    np.testing.assert_allclose(action, [-0.05, 1, 0.08], rtol=1e-5)


@pytest.mark.parametrize(("rest", "expected"), [(0, 0), (None, 2)])
def test_a_discrete_action_at_rest_is_the_keyboards_or_the_last_one(rest: int | None, expected: int) -> None:
    keyboard = Keyboard((Key("ArrowLeft", "left", 1), Key("ArrowRight", "right", 2)), rest)
    wheel = Wheel(keyboard, OneHot(3), person_drives=True)
    wheel.press("ArrowLeft", 0.4)
    wheel.press("ArrowRight", 1)
    assert np.argmax(wheel.action()) == 2
    wheel.press("ArrowLeft", 0)
    wheel.press("ArrowRight", 0)
    assert np.argmax(wheel.action()) == expected
