"""Who acts, as policies of the package's episode loop: awake in the real environment, asleep in M's dream.

At every frame a mind draws what there is to see, then takes its turn: it waits until the next step is due, and learns
whether the person acts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch

from vmc.dream.beside import DreamBeside, Expectation
from vmc.dream.env import DreamEnv
from vmc.dream.settings import DreamSettings
from vmc.episode import Action, Decision, Frame
from vmc.models.mixture import Mixture
from vmc.report.panels import Picture
from vmc.stages.panels import DREAM, ENVIRONMENT, RECONSTRUCTION, draw_environment, make_panels, rendered
from vmc.viewer.messages import DREAM as ASLEEP
from vmc.viewer.messages import REALITY as AWAKE
from vmc.viewer.runs import PlayedRun

Floats = npt.NDArray[np.float32]


class Inside(NamedTuple):
    """What M and C hold at a frame.

    Attributes:
        latent: z (Z,).
        features: M's others by name, each (width,).
        outputs: C's, (A,).
        mixture: M's distribution of z from before it saw it; None where M has none.
    """

    latent: Floats
    features: Mapping[str, Floats]
    outputs: Floats
    mixture: Mixture | None


class Mind(Protocol):
    """A policy that can be looked into.

    Attributes:
        world: `reality` or `dream`.
        expected: what M expected of the last step; None at the first frame.
        last_reward: of the last step, set by the loop.
    """

    world: str
    expected: Expectation | None
    last_reward: float

    @property
    def dream_steps(self) -> int | None:
        """Steps that the dream beside reality has dreamed; None where there is none."""
        ...

    def see(self, frame: Frame) -> None:
        """Takes in a frame: the one to act at, or the last one of an episode."""
        ...

    def pictures(self) -> dict[str, Picture]:
        """The panels at the present frame, by name."""
        ...

    def inside(self) -> Inside | None:
        """What the models hold; None without models."""
        ...

    def drag(self, index: int, value: float, held: bool = False) -> None:
        """Sets one latent of the present frame; `held`, also of the next ones, until it is called without that."""
        ...

    def use(self, settings: DreamSettings) -> None:
        """Dreams with these settings from now on."""
        ...


# Waits for the turn of a mind; gives the person's action, or None where C acts.
Turn = Callable[[Mind], "Action | None"]


class Awake:
    """V, M and C in the real environment.

    Args:
        env: by `make_env(..., rendered=True)`.
        beside: M's dream of the same actions.
    """

    world = AWAKE

    def __init__(self, run: PlayedRun, env: gym.Env[Any, Any], beside: DreamBeside, turn: Turn) -> None:
        self._run, self._env, self.beside, self._turn = run, env, beside, turn
        self._panels = make_panels(run.dream.vae)
        self._decision: Decision
        self._held: tuple[int, float] | None = None
        self.expected: Expectation | None = None
        self.last_reward = 0.0

    def reset(self, rng: np.random.Generator) -> None:
        self._run.agent.reset(rng)
        self._action: Action | None = None
        self.expected = None

    @property
    def dream_steps(self) -> int:
        return self.beside.steps

    def act(self, frame: Frame) -> Decision:
        self.see(frame)
        action = self._turn(self)
        if action is not None:
            self._run.agent.correct(action)
            self._decision = self._decision._replace(action=action)
        self._action = self._decision.action
        return self._decision

    def see(self, frame: Frame) -> None:
        self._frame, self._decision = frame, self._run.agent.act(frame)
        latent = self._decision.latent
        assert latent is not None  # an agent's decision
        if self._action is None:
            self.beside.begin(latent)
        else:
            self.expected = self.beside.step(self._action, latent, self.last_reward)
        self._latent = latent if self._held is None else _with(latent, *self._held)
        self._show(again=False)

    def pictures(self) -> dict[str, Picture]:
        return {ENVIRONMENT: draw_environment(self._env, self._frame, self._panels), **self._panels.draw()}

    def inside(self) -> Inside:
        features = {name: part[0].numpy() for name, part in self._features().items() if name != "z"}
        assert self._decision.outputs is not None
        mixture = self._run.dream.dynamics.distribution(self.beside.state)
        return Inside(self._latent, features, self._decision.outputs, mixture)

    def drag(self, index: int, value: float, held: bool = False) -> None:
        """Changes V's picture of this frame, and nothing that M or C see: their frame is real."""
        self._held = (index, value) if held else None
        self._latent = _with(self._latent, index, value)
        self._show(again=True)

    def use(self, settings: DreamSettings) -> None:
        self.beside.settings = settings

    def realign(self) -> None:
        """Begins the dream beside again, at the present frame."""
        self.beside.wake()
        self._show(again=True)

    def _features(self) -> Mapping[str, torch.Tensor]:
        return self._run.dream.dynamics.features(self.beside.state)

    def _show(self, again: bool) -> None:
        dreamed = self.beside.latents()[1]
        latents = {RECONSTRUCTION: torch.from_numpy(self._latent), DREAM: dreamed}
        self._panels.show(latents, self._frame, again)


class Asleep:
    """M and C in a dream.

    Args:
        env: which this policy acts in.
    """

    world = ASLEEP
    dream_steps = None

    def __init__(self, run: PlayedRun, env: DreamEnv, turn: Turn) -> None:
        self._run, self._env, self._turn = run, env, turn
        self._panels = make_panels(run.dream.vae)
        self._held: tuple[int, float] | None = None
        self.expected: Expectation | None = None
        self.last_reward = 0.0

    def reset(self, rng: np.random.Generator) -> None:
        self._at_first_frame = True
        for part in (self._run.controller, self._run.planner):
            if part is not None:
                part.reset(rng)

    def act(self, frame: Frame) -> Decision:
        self.see(frame)
        action = self._turn(self)
        return self._decision if action is None else self._decision._replace(action=action)

    def see(self, frame: Frame) -> None:
        expected = Expectation(self.last_reward, self._env.termination, None)
        self.expected, self._at_first_frame = None if self._at_first_frame else expected, False
        if self._held is not None:
            self._set_latent(*self._held)
        self._decide()
        self._show(again=False)

    def pictures(self) -> dict[str, Picture]:
        return self._panels.draw()

    def inside(self) -> Inside:
        decision = self._decision
        assert decision.latent is not None
        assert decision.features is not None
        assert decision.outputs is not None
        features = {name: part for name, part in decision.features.items() if name != "z"}
        mixture = self._run.dream.dynamics.distribution(self._env.state)
        return Inside(decision.latent, features, decision.outputs, mixture)

    def drag(self, index: int, value: float, held: bool = False) -> None:
        """Changes the dream: M and C go on from this latent."""
        self._held = (index, value) if held else None
        self._set_latent(index, value)
        self._decide()
        self._show(again=True)

    def _set_latent(self, index: int, value: float) -> None:
        dynamics = self._run.dream.dynamics
        latents = dynamics.latents(self._env.state).clone()
        latents[0, index] = value
        self._env.state = dynamics.with_latents(self._env.state, latents)

    def use(self, settings: DreamSettings) -> None:
        self._env.settings = settings

    def _decide(self) -> None:
        dynamics, state = self._run.dream.dynamics, self._env.state
        features = {name: part[0].numpy() for name, part in dynamics.features(state).items()}
        controller, planner = self._run.controller, self._run.planner
        if controller is None:
            outputs = np.zeros(self._run.action_map.size, np.float32)
        elif planner is None:
            outputs = controller.act(features)
        else:
            outputs = planner.plan(state, controller)
        latent = dynamics.latents(state)[0].numpy()
        self._decision = Decision(self._run.action_map(outputs), latent, features, outputs)

    def _show(self, again: bool) -> None:
        self._panels.show({DREAM: self._run.dream.dynamics.latents(self._env.state)[0]}, again=again)


class Bare:
    """A person alone in the real environment, without models."""

    world = AWAKE
    dream_steps = None

    def __init__(self, env: gym.Env[Any, Any], rest: Action, turn: Turn) -> None:
        self._env, self._rest, self._turn = env, rest, turn
        self.expected: Expectation | None = None
        self.last_reward = 0.0

    def reset(self, rng: np.random.Generator) -> None:
        """Nothing to begin."""

    def act(self, frame: Frame) -> Decision:
        self.see(frame)
        action = self._turn(self)
        return Decision(self._rest if action is None else action)

    def see(self, frame: Frame) -> None:
        self._frame = frame

    def pictures(self) -> dict[str, Picture]:
        return {ENVIRONMENT: rendered(self._env) if self._env.render_mode == "rgb_array" else self._frame}

    def inside(self) -> None:
        return None

    def drag(self, index: int, value: float, held: bool = False) -> None:
        """There is no latent."""

    def use(self, settings: DreamSettings) -> None:
        """There is no dream."""


def _with(latent: Floats, index: int, value: float) -> Floats:
    """A copy of z with another number in it."""
    changed: Floats = latent.copy()
    changed[index] = value
    return changed
