"""A dream that a trainer can learn in a second: its reward asks for an action of the state's sign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vmc.control.trainer import Trainer
from vmc.dream.starts import DreamStarts
from vmc.envs import ActionMap, BoxActionMap
from vmc.envs.action_map import OneHotActionMap
from vmc.models.controller import LinearController, LinearSettings
from vmc.models.dynamics.contract import Features, Imagined, Prediction, SequenceBatch, WorldModel
from vmc.models.dynamics.noise import Noise, NoiseSizes
from vmc.models.dynamics.state import State


@dataclass(frozen=True)
class SignsSettings:
    latent_size: int = 1
    action_size: int = 1


class Signs(WorldModel):
    """z is +1 or -1 by chance; the reward is the action times z, or minus that. A negative action may end all."""

    Settings = SignsSettings

    def __init__(self, settings: SignsSettings, sign: float, deadly: bool = False) -> None:
        super().__init__(settings)
        self._sign, self._deadly = sign, deadly

    def initial(self, latents: Tensor) -> State:
        return State((latents,))

    def observe(self, state: State, actions: Tensor, latents: Tensor) -> State:
        return State((latents,))

    def imagine(self, state: State, actions: Tensor, noise: Noise, temperature: float) -> Imagined:
        # One action, or two of which the second is the positive one.
        value = actions[:, 0] if actions.shape[1] == 1 else actions[:, 1] - actions[:, 0]
        rewards = self._sign * value * state[0][:, 0]
        ends = (value < 0).float() if self._deadly else torch.zeros_like(value)
        if self._deadly:
            rewards = torch.where(value < 0, 1.5, 1.0)  # greedy now, or alive
        return Imagined(State(((noise.uniform - 0.5).sign(),)), rewards, ends)

    @property
    def noise_sizes(self) -> NoiseSizes:
        return NoiseSizes(1, 0)

    @property
    def feature_sizes(self) -> dict[str, int]:
        return {"z": 1}

    def features(self, state: State) -> Features:
        return {"z": state[0]}

    def latents(self, state: State) -> Tensor:
        latents: Tensor = state[0]
        return latents

    def with_latents(self, state: State, latents: Tensor) -> State:
        return State((latents,))

    def predict(self, batch: SequenceBatch, state: State) -> tuple[Prediction, State]:
        raise NotImplementedError

    def loss(self, batch: SequenceBatch, state: State) -> tuple[dict[str, Tensor], State]:
        raise NotImplementedError


def signs_actions(discrete: bool) -> ActionMap:
    """One action from -1 to 1, or two of which the second is the positive one."""
    return OneHotActionMap(2) if discrete else BoxActionMap.from_bounds([-1.0], [1.0])


def signs_dream(sign: float, discrete: bool, deadly: bool) -> tuple[Signs, DreamStarts, ActionMap]:
    """The model, the two states that dreams begin at, and its actions."""
    model, means = Signs(SignsSettings(), sign, deadly), torch.tensor([[1.0], [-1.0]])
    starts = DreamStarts(model, means, torch.zeros(2, 1), model.initial(means), sample_latents=False)
    return model, starts, signs_actions(discrete)


def signs_action(parameters: npt.NDArray[np.float64], z: float, discrete: bool, hidden_units: int = 0) -> float:
    """What a C does in a state, from -1 to 1."""
    action_map = signs_actions(discrete)
    shape = LinearSettings("z", 1, action_map.size, hidden_units)
    action = action_map(LinearController(shape, parameters).act({"z": np.array([z], np.float32)}))
    return float(action[1] - action[0] if discrete else action[0])


def check_resume(make: Callable[[], Trainer]) -> None:
    """A trainer that is put back after two generations ends where the one that was not stopped does, to the bit."""
    whole, stopped, resumed = make(), make(), make()
    for generation in (1, 2, 3, 4):
        whole.train(generation, lambda _: None)
    for generation in (1, 2):
        stopped.train(generation, lambda _: None)
    resumed.restore(*stopped.state())
    for generation in (3, 4):
        resumed.train(generation, lambda _: None)
    (expected, _), (found, _) = whole.state(), resumed.state()
    assert expected.keys() == found.keys()
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    np.testing.assert_array_equal(whole.parameters, resumed.parameters)
