"""What the page asks for: JSON objects with a `type`, checked before anything is done."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vmc.config import did_you_mean, make_checked, option
from vmc.errors import VmcError

REALITY, DREAM = "reality", "dream"
PERSON, CONTROLLER = "person", "controller"
VIDEO_FORMATS = ("mp4", "gif")
# The fields' bounds keep a page from asking for what no person wants to see.
_MAX_SPEED = 1000.0


@dataclass(frozen=True)
class Begin:
    """Begins an episode.

    Attributes:
        run: one of those that the page was offered.
        world: where.
        seed: of the real environment, of the draws of z, and of the dream.
        start: the number of the recorded moment at which a dream begins; None draws one.
        temperature, sample_termination: of the dream; None takes those that C was evolved with.
    """

    run: str
    world: str = option(REALITY, choices=[REALITY, DREAM])
    seed: int = option(0, least=0)
    start: int | None = option(None, least=0)
    temperature: float | None = option(None, above=0)
    sample_termination: bool | None = None


@dataclass(frozen=True)
class Again:
    """Begins the same episode again: from the same seed, or the same moment."""


@dataclass(frozen=True)
class Next:
    """Goes on to the next episode that is to be collected."""


@dataclass(frozen=True)
class Press:
    """Presses a key.

    Attributes:
        key: its name, as the browser gives it.
        strength: how far, from 0 (released) to 1.
        number: comes back with the first view that shows the effect.
    """

    key: str
    strength: float = option(1.0, least=0)
    number: int = option(0, least=0)


@dataclass(frozen=True)
class Drive:
    """Says who drives when no key is pressed."""

    who: str = option(choices=[PERSON, CONTROLLER])


@dataclass(frozen=True)
class FallAsleep:
    """Changes from reality to M's dream, from the present state."""


@dataclass(frozen=True)
class WakeUp:
    """Changes from the dream to reality."""


@dataclass(frozen=True)
class Align:
    """Begins the dream beside reality again, at the present real frame."""


@dataclass(frozen=True)
class Dreaming:
    """Changes the dream's settings; None leaves one as it is."""

    temperature: float | None = option(None, above=0)
    sample_termination: bool | None = None


@dataclass(frozen=True)
class Pause:
    """Stops before the next step, or goes on."""

    paused: bool = True


@dataclass(frozen=True)
class StepOnce:
    """Takes one step and pauses."""


@dataclass(frozen=True)
class Speed:
    """Sets the number of steps a second."""

    steps: float = option(least=0.1)


@dataclass(frozen=True)
class Drag:
    """Sets one latent of the present frame.

    Attributes:
        held: also those of the next frames, until a message without it.
    """

    index: int = option(least=0)
    value: float = 0.0
    held: bool = False


@dataclass(frozen=True)
class LookAt:
    """Chooses the latent dimension whose mixture is shown."""

    index: int = option(least=0)


@dataclass(frozen=True)
class Record:
    """Begins to record a video; without a format, ends it."""

    format: str | None = option(None, choices=VIDEO_FORMATS)


@dataclass(frozen=True)
class Save:
    """Saves the real episode, as far as it goes, for V and M to train on."""


@dataclass(frozen=True)
class Ready:
    """Says that the page has drawn a view."""


MESSAGES: dict[str, type[Any]] = {
    "begin": Begin,
    "again": Again,
    "next": Next,
    "press": Press,
    "drive": Drive,
    "fall-asleep": FallAsleep,
    "wake-up": WakeUp,
    "align": Align,
    "dreaming": Dreaming,
    "pause": Pause,
    "step": StepOnce,
    "speed": Speed,
    "drag": Drag,
    "look-at": LookAt,
    "record": Record,
    "save": Save,
    "ready": Ready,
}


def parse(text: str) -> Any:
    """A message from the page.

    Raises:
        VmcError: it is no JSON object of a known type with fields of the right types and bounds.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise VmcError("The message is no JSON.") from None
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise VmcError("The message is no JSON object with a `type`.")
    name = content.pop("type")
    if name not in MESSAGES:
        raise VmcError(f"There is no message {name!r}.", did_you_mean(name, MESSAGES))
    message = make_checked(MESSAGES[name], content)
    if isinstance(message, Speed) and message.steps > _MAX_SPEED:
        raise VmcError(f"{message.steps} steps a second are more than the {_MAX_SPEED:.0f} that can be asked for.")
    return message
