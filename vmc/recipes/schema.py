"""The keys of a stage in a recipe: the options of the stage's settings, but for the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from vmc.config import OptionError, UnknownOptionError, did_you_mean, make_settings
from vmc.errors import VmcError
from vmc.stages.settings import STAGES

# No value of an option depends on the environment's name.
_ANY_ENV = "any"


def check_options(stage: str, options: Mapping[str, Any]) -> None:
    """Checks a stage's options, all of them given.

    Raises:
        VmcError: it names the stage and the option.
    """
    stage_settings(stage, _ANY_ENV, options)


def stage_settings(stage: str, env: str, *layers: Mapping[str, Any]) -> Any:
    """A stage's settings from layers of options, the later ones winning.

    Raises:
        StageOptionError: an option that the stage does not have or take, or one that is missing.
    """
    known = [field.name for field in fields(STAGES[stage]) if field.name != "env"]
    try:
        for layer in layers:
            # The environment is the whole recipe's.
            if "env" in layer:
                raise UnknownOptionError("env", "is no option.", did_you_mean("env", known))
        return make_settings(STAGES[stage], env, *layers)
    except OptionError as error:
        raise StageOptionError(stage, error) from None


class StageOptionError(VmcError):
    """An `OptionError` that names the stage as well."""

    def __init__(self, stage: str, error: OptionError) -> None:
        is_unknown = isinstance(error, UnknownOptionError)
        problem = f"{stage} has no option {error.option!r}." if is_unknown else f"{stage}.{error.option} {error.what}"
        super().__init__(problem, error.hint)
        self.option = error.option
