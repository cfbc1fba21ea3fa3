"""A page that plays a run, in the real environment and in M's dream.

To fall asleep is to run a dream's episode within a turn of the real one: the real environment waits where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym

from vmc.dream.beside import DreamBeside
from vmc.dream.env import DreamEnv, with_given
from vmc.dream.settings import DreamSettings
from vmc.envs import action_map_of, make_env, preprocessing_of
from vmc.envs.actions import with_vector_actions
from vmc.episode import Limits, iterate_episode
from vmc.errors import VmcError
from vmc.seeding import env_seed, stream
from vmc.stages.film import frames_per_second
from vmc.storage.rollouts import Source
from vmc.viewer.messages import DREAM, REALITY, Align, Begin, Dreaming, FallAsleep, Save, WakeUp
from vmc.viewer.minds import Asleep, Awake
from vmc.viewer.recording import human_data_folder, policy_of, save_episode
from vmc.viewer.runs import PlayedRun, describe, load_played
from vmc.viewer.session import Left, Repeated, Session, Tell, event
from vmc.viewer.wheel import Wheel


class Woken(Exception):
    """The dream ends, and reality goes on."""


class Player(Session):
    """Plays one run at a time.

    Args:
        offered: the runs' folders, by the names that the page knows.
        data: where episodes are saved; None: `data/<env>-human`.
        tell, videos: as for `Session`.
    """

    def __init__(self, offered: Mapping[str, Path], data: Path | None, tell: Tell, videos: Path) -> None:
        super().__init__(tell, videos)
        self._offered, self._data = offered, data
        self._run: PlayedRun
        self._loaded: str | None = None
        self._env: gym.Env[Any, Any] | None = None
        self._settings = DreamSettings()
        self._handlers |= {
            FallAsleep: self._fall_asleep,
            WakeUp: self._wake_up,
            Align: self._align,
            Dreaming: self._set_dream,
            Save: self._save,
        }

    @property
    def frames_per_second(self) -> float:
        return self._rate

    def free(self) -> None:
        if self._env is not None:
            self._env.close()
            self._env = None

    def play(self, beginning: Begin) -> None:
        self._open(beginning.run)
        self._beginning = beginning
        given = {"temperature": beginning.temperature, "sample_termination": beginning.sample_termination}
        self._settings = with_given(self._run.dream.settings, **given)
        self._tell(event("begun", seed=beginning.seed, start=beginning.start, world=beginning.world))
        if beginning.world == DREAM:
            self._dream({} if beginning.start is None else {"start": beginning.start})
            raise Left(replace(beginning, world=REALITY, start=None))
        self._live()

    def _open(self, name: str) -> None:
        """Loads another run's models; the page keeps those of one."""
        if name == self._loaded:
            return
        if name not in self._offered:
            raise VmcError(f"There is no run {name!r} on this page.", f"There are: {', '.join(self._offered)}.")
        self._tell(event("loading", run=name))
        self._end_film()  # its pictures are of one run
        self._look_at = 0
        self.free()
        self._loaded = None
        self._run = load_played(self._offered[name])
        reason = self._open_env()
        self._wheel = Wheel(self._run.keyboard, self._run.dream.action_space, self._run.controller is None)
        self._clock.speed = self._rate
        self._loaded = name
        self._tell(event("opened", **describe(self._run, self._rate), no_reality=reason))

    def _open_env(self) -> str:
        """Makes the real environment; returns why that is not possible, where it is not."""
        try:
            self._env = make_env(self._run.env, rendered=True)
        except VmcError as error:
            self._rate = frames_per_second(DreamEnv(self._run.dream))
            return str(error)
        self._rate = frames_per_second(self._env)
        return ""

    def _live(self) -> None:
        """Episodes in the real environment."""
        env = self._env
        if env is None:
            raise VmcError(f"There is no real environment {self._run.env} on this machine.", "Play in the dream.")
        number = env_seed(self._beginning.seed, "play", 0)
        while True:
            beside = DreamBeside(self._run.dream, self._settings, stream(number, "play/beside"))
            mind = Awake(self._run, env, beside, self.turn)
            with suppress(Repeated):
                self.watch(iterate_episode(env, mind, number, stream(number, "agent")), mind)

    def _dream(self, options: dict[str, Any]) -> None:
        """Dreams until woken, each begun as `DreamEnv.reset` says."""
        dream = DreamEnv(self._run.dream)
        dream.settings = self._settings
        env, seed = with_vector_actions(dream, scalar=False), self._beginning.seed
        mind = Asleep(self._run, dream, self.turn)
        limits = Limits(self._settings.horizon)
        while True:
            try:
                self.watch(iterate_episode(env, mind, seed, stream(seed, "play/dream"), limits, options), mind)
            except Repeated:
                continue
            except Woken:
                return

    def _fall_asleep(self, message: FallAsleep) -> None:
        mind, now = self._mind, self._now
        if isinstance(mind, Awake):
            self._dream({"state": mind.beside.state})
            mind.use(self._settings)
            self._mind, self._now = mind, now
            self.changed()

    def _wake_up(self, message: WakeUp) -> None:
        if isinstance(self._mind, Asleep):
            raise Woken

    def _align(self, message: Align) -> None:
        if isinstance(self._mind, Awake):
            self._mind.realign()
            self.changed()

    def _set_dream(self, message: Dreaming) -> None:
        given = {"temperature": message.temperature, "sample_termination": message.sample_termination}
        self._settings = with_given(self._settings, **given)
        self._mind.use(self._settings)

    def _save(self, message: Save) -> None:
        mind = self._mind
        if not isinstance(mind, Awake):
            raise VmcError("A dream cannot be saved as an episode.", "Wake up first.")
        assert self._env is not None
        run, now, seed = self._run, self._now, env_seed(self._beginning.seed, "play", 0)
        actions = action_map_of(run.env, self._env).to_json()
        policy = policy_of(now.steps, now.human_steps, run.agent.source)
        source = Source(run.env, preprocessing_of(self._env), actions, policy, self._beginning.seed)
        folder, terminated = self._data or human_data_folder(run.env), now.ended == "terminated"
        path, now.saved_as = save_episode(
            folder, now.saved_as, now.trajectory, seed, terminated, not terminated, source
        )
        self._tell(event("saved", file=str(path), steps=now.steps, human_steps=now.human_steps))
