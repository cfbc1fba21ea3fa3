"""Environments of strangers: one class that does one thing in another way than most. Imported by `vmc` itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any

import gymnasium as gym
import numpy as np

_PICTURE = (64, 64, 3)
_BOX = gym.spaces.Box(-1, 1, (1,), np.float32)
_SPACES: dict[str, gym.Space[Any]] = {
    "actions: without bounds": gym.spaces.Box(-np.inf, np.inf, (1,), np.float32),
    "actions: bounds on one side": gym.spaces.Box(0, np.inf, (1,), np.float32),
    "actions: an empty box": gym.spaces.Box(-1, 1, (0,), np.float32),
    "actions: 1000 discrete ones": gym.spaces.Discrete(1000),
    "actions: discrete from 5 on": gym.spaces.Discrete(3, start=5),
    "actions: several discrete ones": gym.spaces.MultiDiscrete([2, 3]),
    "actions: a dictionary": gym.spaces.Dict({"a": _BOX}),
}
_REWARDS: dict[str, Any] = {
    "reward: an array of one": np.array([0.5]),
    "reward: an integer": 1,
    "reward: None": None,
    "reward: NaN": float("nan"),
    "reward: a text": "1.5",
    "reward: 1e30": 1e30,
    "reward: a complex number": 1 + 0j,
}
_FLAGS: dict[str, Any] = {"flag: None": None, "flag: a NumPy boolean": np.bool_(False), "flag: an integer": 0}
_SEEN: dict[str, Any] = {
    "observation: a list": [0.1, 0.2],
    "observation: float64": np.array([0.1, 0.2]),
    "observation: another shape": np.zeros(3, np.float32),
    "observation: NaN": np.array([np.nan, 0], np.float32),
    "observation: a text": "left",
}
_PICTURES = {
    "picture: constant": (_PICTURE, lambda picture: np.full_like(picture, 7)),
    "picture: negative strides": (_PICTURE, lambda picture: picture[::-1, ::-1]),
    "picture: grey": ((64, 64), lambda picture: picture[..., 0]),
    "picture: channels first": ((3, 64, 64), lambda picture: np.moveaxis(picture, -1, 0)),
    "picture: small": ((16, 20, 3), lambda picture: picture[:16, :20]),
    "picture: another type": (_PICTURE, lambda picture: picture.astype(np.float32)),
}
_OTHERS = (
    *("nothing", "prints", "closes stdout", "raises now and then", "raises always", "hangs in step", "hangs in reset"),
    *("hangs in its constructor", "a thread", "a process", "old gym", "old reset", "no info"),
    *("one step", "50000 steps", "terminates and truncates"),
)
CASES = (*_OTHERS, *_SPACES, *_REWARDS, *_FLAGS, *_SEEN, *_PICTURES)


class Strange(gym.Env[Any, Any]):
    """Does `what` is in `CASES`; else an easy task of two numbers."""

    def __init__(self, what: str = "nothing") -> None:
        self._what = what
        self.action_space = _SPACES.get(what, _BOX)
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
        if what in _PICTURES:
            self.observation_space = gym.spaces.Box(0, 255, _PICTURES[what][0], np.uint8)
        if what == "hangs in its constructor":
            time.sleep(10_000)
        if what == "a thread":
            threading.Thread(target=time.sleep, args=(10_000,)).start()
        if what == "a process":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(10_000)"])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._left = {"one step": 1, "50000 steps": 50_000}.get(self._what, 12)
        if self._what == "hangs in reset":
            time.sleep(10_000)
        return self._observation() if self._what == "old reset" else (self._observation(), {})

    def step(self, action: Any) -> Any:
        self._left -= 1
        what, rng = self._what, self.np_random
        if what == "prints":
            print("step", self._left, flush=True)
            os.write(1, b"from below\n")
        if what == "closes stdout":
            sys.stdout.close()
        if what == "raises always" or (what == "raises now and then" and os.urandom(1)[0] < 1):
            raise RuntimeError("the engine is on fire")
        if what == "hangs in step":
            time.sleep(10_000)
        reward = _REWARDS.get(what, float(rng.random()))
        ended = self._left == 0
        observation, terminated = self._observation(), _FLAGS.get(what, ended)
        truncated = ended and (what in _FLAGS or what == "terminates and truncates")
        if what == "old gym":
            return observation, reward, ended, {}
        if what == "no info":
            return observation, reward, terminated, truncated
        return observation, reward, terminated, truncated, {}

    def _observation(self) -> Any:
        if self._what in _PICTURES:
            return _PICTURES[self._what][1](self.np_random.integers(0, 255, _PICTURE, dtype=np.uint8))
        return _SEEN.get(self._what, self.np_random.random(2).astype(np.float32))


gym.register("Strange-v0", entry_point=Strange)
gym.register("of/Strangers-v0", entry_point=Strange)
