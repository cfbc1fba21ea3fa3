"""An environment's name: a Gymnasium id, its arguments and the `WORDS` of vmc, in one string.

Examples are `CarRacing-v3,continuous=False` and `CartPole-v1,pixels`. The string is stored with episodes, models and
scores, so that a stage can refuse files of another environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vmc.config import parse_value
from vmc.errors import VmcError

PIXELS, SCALAR_ACTIONS = "pixels", "scalar-actions"
WORDS = {
    PIXELS: "use the rendered picture as observation, not the environment's own observation",
    SCALAR_ACTIONS: "choose a discrete action by thresholds on one number, as the paper does in take cover",
}


@dataclass(frozen=True)
class EnvName:
    """A parsed name.

    Attributes:
        id: Gymnasium's id, with the module in front if there is one: `my_module:MyEnv-v0`.
        arguments: keyword arguments of the environment's constructor.
        words: a subset of `WORDS`.
    """

    id: str
    arguments: dict[str, Any] = field(default_factory=dict)
    words: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """The name with sorted parts: equal names give equal strings."""
        arguments = [f"{name}={value}" for name, value in sorted(self.arguments.items())]
        return ",".join([self.id, *arguments, *sorted(self.words)])

    @property
    def module(self) -> str | None:
        """The module that registers the environment, or None."""
        return self.id.rpartition(":")[0] or None


def parse_name(text: str) -> EnvName:
    """Parses `ID[,NAME=VALUE...][,WORD...]`.

    Raises:
        VmcError: a part is neither an argument nor one of `WORDS`.
    """
    env_id, *parts = text.split(",")
    arguments: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals and name.isidentifier():
            arguments[name] = parse_value(value)
        elif part not in WORDS:
            raise VmcError(
                f"{text!r} is not an environment's name: {part!r} is neither NAME=VALUE nor one of {', '.join(WORDS)}.",
                "Examples: CarRacing-v3,continuous=False and CartPole-v1,pixels.",
            )
    return EnvName(env_id, arguments, frozenset(parts) & WORDS.keys())


def join_name(text: str, arguments: Iterable[str], words: Iterable[str]) -> str:
    """Adds arguments (each `NAME=VALUE`) and words to a name; the parts of the result are sorted.

    Raises:
        VmcError: an argument is not `NAME=VALUE`, or holds a comma.
    """
    for argument in arguments:
        if "," in argument or "=" not in argument:
            raise VmcError(
                f"The environment's argument {argument!r} is not NAME=VALUE with a plain value.",
                "For other values, register your own Gymnasium id.",
            )
    return str(parse_name(",".join([text, *arguments, *words])))


def env_slug(text: str) -> str:
    """Returns an environment's folder name: `CarRacing-v3,continuous=False` gives `carracing-v3-continuous-false`."""
    return re.sub(r"[/,=]", "-", text.rsplit(":", maxsplit=1)[-1]).lower()
