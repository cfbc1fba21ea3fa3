"""One person's page: episodes in a thread of its own, which obeys the page's messages and sends it views.

The package's own loop steps the episodes. A mind (`minds.py`) takes its turn at each frame, and the turn waits here.
"""

from __future__ import annotations

import json
import math
import queue
import secrets
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vmc.episode import Action, Step, Trajectory
from vmc.errors import VmcError
from vmc.report.panels import Picture
from vmc.stages.film import film_caption
from vmc.viewer.clock import Clock
from vmc.viewer.messages import (
    CONTROLLER,
    DREAM,
    PERSON,
    REALITY,
    Again,
    Begin,
    Drag,
    Drive,
    LookAt,
    Pause,
    Press,
    Ready,
    Record,
    Speed,
    StepOnce,
)
from vmc.viewer.minds import Mind
from vmc.viewer.recording import Film
from vmc.viewer.view import encode_view
from vmc.viewer.wheel import Wheel

# Views that may be under way at once: one is drawn while the next one travels.
_VIEWS_UNDER_WAY = 2
# V's latents are about standard normal.
_MAX_LATENT = 10.0

# Sends text (an event, as JSON) or bytes (a view) to the page.
Tell = Callable[["str | bytes"], None]


class Left(Exception):
    """The episode is left for another one; for none, where the page was closed."""

    def __init__(self, beginning: Begin | None) -> None:
        super().__init__()
        self.beginning = beginning


class Repeated(Exception):
    """The episode begins again."""


@dataclass
class EpisodeSoFar:
    """What has happened in an episode.

    Attributes:
        human_steps: those in which the person acted.
        ended: `terminated` or `truncated`; empty while it goes on.
        saved_as: the number under which the episode was saved; None before.
    """

    steps: int = 0
    human_steps: int = 0
    episode_return: float = 0.0
    reward: float = 0.0
    ended: str = ""
    action: list[float] = field(default_factory=list)
    trajectory: Trajectory = field(default_factory=Trajectory)
    saved_as: int | None = None


def event(kind: str, **content: Any) -> str:
    """A message to the page other than a view."""
    return json.dumps({"type": kind, **content})


def _finite(value: float | None) -> float | None:
    """The number, or None where there is none that JSON knows."""
    return value if value is not None and math.isfinite(value) else None


def _faded(picture: Picture) -> Picture:
    """As a panel looks whose world waits."""
    return picture // 3 + 170


class Session(ABC):
    """What all pages can do, whatever they play.

    Args:
        tell: sends something to the page, from any thread.
        videos: the folder for recordings.
    """

    def __init__(self, tell: Tell, videos: Path) -> None:
        self._tell, self._videos = tell, videos
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._clock = Clock()
        self._wheel: Wheel
        self._mind: Mind
        self._now = EpisodeSoFar()
        self._driver = CONTROLLER
        self._look_at = 0
        self._pressed_number = self._shown_number = 0
        self._under_way, self._is_late = 0, False
        self._drawn: dict[str, Picture] | None = None
        self._pictures: dict[str, Picture] = {}
        self._film: Film | None = None
        self._handlers: dict[type, Callable[[Any], None]] = {
            Begin: self._leave,
            Again: self._repeat,
            Press: self._press,
            Drive: self._drive,
            Pause: self._pause,
            StepOnce: lambda message: self._clock.once(),
            Speed: self._set_speed,
            Drag: self._drag,
            LookAt: self._look,
            Record: self._record,
            Ready: self._ready,
        }

    # From any thread.

    def obey(self, message: Any) -> None:
        """Leaves a message, one of `vmc.viewer.messages`."""
        self._inbox.put(message)

    def close(self) -> None:
        """Ends the session's thread and frees its environment."""
        self._inbox.put(None)

    # In the session's own thread.

    def run(self) -> None:
        """Plays until the page is closed."""
        try:
            beginning = self._next_beginning(None)
            while True:
                try:
                    self.play(beginning)
                except VmcError as error:
                    self._tell(event("error", message=str(error)))
                except Left as left:
                    if left.beginning is None:
                        return
                    beginning = left.beginning
                    continue
                except Exception as error:
                    traceback.print_exc()
                    told = f"The episode ended with an error, which the terminal tells in full: {error!r}"
                    self._tell(event("error", message=told))
                beginning = self._next_beginning(beginning)
        except Left:
            pass
        finally:
            self.free()
            if self._film is not None:
                self._film.discard()

    @abstractmethod
    def play(self, beginning: Begin) -> None:
        """Plays episodes until `Left` is raised."""

    @abstractmethod
    def free(self) -> None:
        """Closes environments."""

    @property
    @abstractmethod
    def frames_per_second(self) -> float:
        """Of recordings."""

    def watch(self, steps: Iterator[Step], mind: Mind) -> None:
        """Plays an episode to its end, and waits there until it is left."""
        self._now = EpisodeSoFar()
        for step in steps:
            self._note(step, mind)
        self._now.ended = "terminated" if step.terminated else "truncated"
        mind.see(step.next_frame)
        self._arrive(mind)
        self.at_end(step)
        while True:
            self._obey(self._inbox.get())

    def at_end(self, step: Step) -> None:  # noqa: B027
        """Called when an episode has ended with this step."""

    def turn(self, mind: Mind) -> Action | None:
        """Waits until the next step is due; returns the person's action, or None where C acts."""
        self._arrive(mind)
        while True:
            try:
                message = self._inbox.get(timeout=self._clock.seconds_left())
            except queue.Empty:
                break
            self._obey(message)
        action = self._wheel.action()
        self._driver = CONTROLLER if action is None else PERSON
        self._shown_number = self._pressed_number
        self._clock.step()
        return action

    def changed(self) -> None:
        """Draws the present frame again."""
        self._drawn = None
        self.publish()

    def publish(self) -> None:
        """Shows the present frame, as soon as the page is ready for it."""
        self._is_late = self._under_way >= _VIEWS_UNDER_WAY
        if not self._is_late:
            view = encode_view(self._header(), self._draw(), self._mind.inside(), self._look_at)
            self._under_way += 1
            self._tell(view)

    def _next_beginning(self, last: Begin | None) -> Begin:
        """Waits where nothing is played: before the first episode, and after an error."""
        self._is_late = False
        while True:
            message = self._inbox.get()
            if message is None:
                raise Left(None)
            if isinstance(message, Begin):
                return message
            if isinstance(message, Again) and last is not None:
                return last
            if isinstance(message, Ready):
                self._ready(message)
            elif last is not None and not isinstance(message, Press | LookAt):
                self._tell(event("error", message="Nothing is played now. Again begins the episode again."))

    def _draw(self) -> dict[str, Picture]:
        if self._drawn is None:
            self._drawn = self._mind.pictures()
        return self._drawn

    def _arrive(self, mind: Mind) -> None:
        """Shows and records a frame that a mind has just seen."""
        self._mind, self._drawn = mind, None
        self._film_frame()
        self.publish()

    def _film_frame(self) -> None:
        try:
            self._append_to_film()
        except VmcError as error:
            self._tell(event("error", message=f"The recording has ended: {error}"))
            self._end_film()

    def _append_to_film(self) -> None:
        if self._film is not None:
            drawn = self._draw()
            self._pictures.update(drawn)
            pictures = {name: part if name in drawn else _faded(part) for name, part in self._pictures.items()}
            caption = film_caption(self._now.steps, self._now.episode_return)
            self._film.append(pictures, f"{caption}    in M's dream" if self._mind.world == DREAM else caption)
            if self._film.is_full:
                self._end_film()

    def _note(self, step: Step, mind: Mind) -> None:
        now = self._now
        now.steps, now.reward, now.episode_return = now.steps + 1, step.reward, now.episode_return + step.reward
        now.action = step.decision.action.tolist()
        now.human_steps += self._driver == PERSON
        mind.last_reward = step.reward
        if mind.world == REALITY:
            now.trajectory.append(step)

    def _obey(self, message: Any) -> None:
        if message is None:
            raise Left(None)
        handle = self._handlers.get(type(message))
        if handle is None:
            self._tell(event("error", message=f"{type(message).__name__} means nothing on this page."))
            return
        try:
            handle(message)
        except VmcError as error:
            self._tell(event("error", message=str(error)))

    def _header(self) -> dict[str, Any]:
        now, mind, expected = self._now, self._mind, self._mind.expected
        return {
            "type": "view",
            "world": mind.world,
            "step": now.steps,
            "reward": now.reward,
            "return": now.episode_return,
            "action": now.action,
            "ended": now.ended,
            "expected_reward": _finite(expected and expected.reward),
            "termination": _finite(expected and expected.termination),
            "surprise": _finite(expected and expected.surprise),
            "dream_steps": mind.dream_steps,
            "driver": self._driver,
            "paused": self._clock.paused,
            "rate": self._clock.rate,
            "recording": self._film is not None,
            "input": self._shown_number,
        }

    def _leave(self, message: Begin) -> None:
        raise Left(message)

    def _repeat(self, message: Again) -> None:
        raise Repeated

    def _press(self, message: Press) -> None:
        self._wheel.press(message.key, message.strength)
        self._pressed_number = max(self._pressed_number, message.number)

    def _drive(self, message: Drive) -> None:
        self._wheel.person_drives = message.who == PERSON

    def _pause(self, message: Pause) -> None:
        if self._now.ended:
            return
        if message.paused:
            self._clock.paused = True
        else:
            self._clock.go_on()
        self.publish()

    def _set_speed(self, message: Speed) -> None:
        self._clock.speed = message.steps

    def _drag(self, message: Drag) -> None:
        if abs(message.value) > _MAX_LATENT:
            raise VmcError(f"A latent of {message.value} is beyond {_MAX_LATENT:.0f}: V and M have seen none such.")
        self._mind.drag(self._latent_index(message.index), message.value, message.held)
        self.changed()

    def _look(self, message: LookAt) -> None:
        self._look_at = self._latent_index(message.index)
        self.publish()

    def _latent_index(self, index: int) -> int:
        inside = self._mind.inside()
        size = 0 if inside is None else len(inside.latent)
        if index >= size:
            raise VmcError(f"There is no latent {index}: this page shows {size}.")
        return index

    def _ready(self, message: Ready) -> None:
        self._under_way = max(0, self._under_way - 1)
        if self._is_late:
            self.publish()

    def _record(self, message: Record) -> None:
        self._end_film()
        if message.format is not None:
            self._pictures = dict(self._draw())
            path = self._videos / f"vmc-{secrets.token_hex(4)}.{message.format}"
            self._film = Film(path, self.frames_per_second, list(self._pictures))
            self._film_frame()
        self.publish()

    def _end_film(self) -> None:
        film, self._film = self._film, None
        if film is not None:
            film.close()
            self._tell(event("recorded", file=film.path.name))
