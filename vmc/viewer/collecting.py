"""The page of `vmc rollouts --policy human`: a person drives the missing episodes of a data folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium as gym

from vmc.envs import action_map_of, at_rest, keyboard_of, make_env, preprocessing_of
from vmc.episode import Limits, Step, iterate_episode
from vmc.errors import VmcError
from vmc.seeding import env_seed, stream
from vmc.stages.film import frames_per_second
from vmc.stages.settings import CollectSettings
from vmc.storage.files import locked
from vmc.storage.rollouts import Source, present_indices, shard_path, write_shard
from vmc.viewer.messages import PERSON, Again, Begin, Next
from vmc.viewer.minds import Bare
from vmc.viewer.recording import policy_of, to_episode
from vmc.viewer.session import Left, Repeated, Session, Tell, event
from vmc.viewer.wheel import Wheel


class Collector(Session):
    """One missing episode after another; each is saved when it ends, as a shard of its own, and can be dropped then.

    Args:
        data: the folder.
        finished: called when no episode is missing any more.
        tell, videos: as for `Session`.

    Raises:
        VmcError: an environment that a person cannot see.
    """

    def __init__(
        self, settings: CollectSettings, data: Path, finished: Callable[[], None], tell: Tell, videos: Path
    ) -> None:
        super().__init__(tell, videos)
        self._settings, self._data, self._finished = settings, data, finished
        self._env: gym.Env[Any, Any] | None = None
        self._driver = PERSON
        self._index = 0
        self._is_saved = False
        self._handlers |= {Again: self._drop, Next: self._go_on}

    @property
    def frames_per_second(self) -> float:
        return self._clock.speed

    def free(self) -> None:
        if self._env is not None:
            self._env.close()
            if self._missing() is None:
                self._finished()

    def play(self, beginning: Begin) -> None:
        with locked(self._data):  # also against a second page, which would drive the same episode
            self._collect()
        self._tell(event("finished"))
        raise Left(None)

    def _collect(self) -> None:
        env = self._env = self._env or visible_env(self._settings.env)
        keyboard = keyboard_of(self._settings.env, env.action_space)
        assert isinstance(env.action_space, gym.spaces.Box)
        self._wheel = Wheel(keyboard, env.action_space, person_drives=True)
        self._clock.speed = frames_per_second(env)
        keys = [{"name": key.name, "label": key.label} for key in keyboard.keys]
        self._tell(event("collecting", keys=keys, steps_per_second=self._clock.speed))
        while (missing := self._missing()) is not None:
            self._index = missing
            self._clock.paused = True  # until the person is ready
            self._tell(event("collects", number=missing + 1, episodes=self._settings.episodes))
            number = env_seed(self._settings.seed, "rollouts", missing)
            rng = stream(self._settings.seed, "policy/human", missing)
            limits = Limits(self._settings.max_steps, self._settings.no_reward_limit)
            mind = Bare(env, at_rest(env.action_space), self.turn)
            with suppress(Repeated):
                self.watch(iterate_episode(env, mind, number, rng, limits), mind)

    def at_end(self, step: Step) -> None:
        self._is_saved = False
        try:
            self._save(step)
        except VmcError as error:  # the episode is still here: `Next` tries again
            self._tell(event("error", message=str(error)))

    def _save(self, step: Step) -> None:
        self._last = step
        env, settings = self._env, self._settings
        assert env is not None
        limits = {"max_steps": settings.max_steps, "no_reward_limit": settings.no_reward_limit}
        actions = action_map_of(settings.env, env).to_json()
        policy = policy_of(self._now.steps, self._now.steps) | limits
        source = Source(settings.env, preprocessing_of(env), actions, policy, settings.seed)
        number = env_seed(settings.seed, "rollouts", self._index)
        episode = to_episode(self._index, self._now.trajectory, number, step.terminated, step.truncated)
        path = write_shard(self._data, [episode], source)
        self._is_saved = True
        self._tell(event("saved", file=str(path), steps=self._now.steps, human_steps=self._now.steps))

    def _drop(self, message: Again) -> None:
        """Drops the episode, also when it has ended and was saved, and begins it again."""
        if self._now.ended:
            shard_path(self._data, [self._index]).unlink(missing_ok=True)
        raise Repeated

    def _go_on(self, message: Next) -> None:
        if not self._now.ended:
            raise VmcError("The episode has not ended yet.", "Drive on; Again drops it.")
        if not self._is_saved:
            self._save(self._last)
        raise Repeated

    def _missing(self) -> int | None:
        """The first episode that the folder lacks."""
        present = present_indices(self._data)
        return next((index for index in range(self._settings.episodes) if index not in present), None)


def visible_env(name: str) -> gym.Env[Any, Any]:
    """The environment with its picture.

    Raises:
        VmcError: it has none, so that a person cannot drive.
    """
    env = make_env(name, rendered=True)
    if env.render_mode is None and len(env.observation_space.shape or ()) == 1:
        env.close()
        raise VmcError(
            f"{name} shows vectors and renders no picture: a person cannot see it.",
            "Give its class the render mode `rgb_array`, or choose another --policy.",
        )
    return env
