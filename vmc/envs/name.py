"""An environment's name: a Gymnasium id and what it is made with, in one string that every stage keeps.

`CarRacing-v3,continuous=False` or `CartPole-v1,pixels`: after the id, arguments of the environment and words of ours.
The string is stored with episodes, models and scores, so these can only meet their own kind.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vmc.errors import VmcError

PIXELS, SCALAR_ACTIONS = "pixels", "scalar-actions"
WORDS = {
    PIXELS: "see the rendered picture, not the environment's own observation",
    SCALAR_ACTIONS: "discrete actions by thresholds on one number, as the paper's take cover, not one number each",
}


@dataclass(frozen=True)
class EnvName:
    """A parsed name.

    Attributes:
        id: what Gymnasium knows it by, a module in front included: `my_module:MyEnv-v0`.
        arguments: for the environment's constructor.
        words: of `WORDS`.
    """

    id: str
    arguments: dict[str, Any] = field(default_factory=dict)
    words: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """The one spelling of this name, whatever the order it was written in."""
        arguments = [f"{name}={value}" for name, value in sorted(self.arguments.items())]
        return ",".join([self.id, *arguments, *sorted(self.words)])

    @property
    def module(self) -> str | None:
        """The module that registers the environment, if one is named."""
        return self.id.rpartition(":")[0] or None


def parse_name(text: str) -> EnvName:
    """The parts of `ID[,NAME=VALUE...][,WORD...]`.

    Raises:
        VmcError: a part that is neither an argument nor one of `WORDS`.
    """
    env_id, *parts = text.split(",")
    arguments: dict[str, Any] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals and name.isidentifier():
            arguments[name] = _value(value)
        elif part not in WORDS:
            raise VmcError(
                f"{text!r} is no environment's name: {part!r} is neither NAME=VALUE nor one of {', '.join(WORDS)}.",
                "Write it as in CarRacing-v3,continuous=False or CartPole-v1,pixels.",
            )
    return EnvName(env_id, arguments, frozenset(parts) & WORDS.keys())


def join_name(text: str, arguments: Iterable[str], words: Iterable[str]) -> str:
    """The name with more arguments (each `NAME=VALUE`) and words, in its one spelling.

    Raises:
        VmcError: an argument that is none, or that holds a comma.
    """
    for argument in arguments:
        if "," in argument or "=" not in argument:
            raise VmcError(
                f"The environment's argument {argument!r} is not NAME=VALUE with a plain value.",
                "Register an id of your own for anything more.",
            )
    return str(parse_name(",".join([text, *arguments, *words])))


def env_slug(text: str) -> str:
    """A folder name for an environment: `CarRacing-v3,continuous=False` gives `carracing-v3-continuous-false`."""
    return re.sub(r"[/,=]", "-", text.rsplit(":", maxsplit=1)[-1]).lower()


def _value(text: str) -> Any:
    """Python's `False`, `3`, `0.5` or `None`, the shell's `false`, or else text."""
    try:
        return ast.literal_eval(text.capitalize() if text in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        return text
