"""Which drawing of CarRacing is used: the fast one where it is proved, else the official one.

The answer is found once, in the first process, and inherited by its workers through the environment.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import version

import pygame

_VARIABLE = "VMC_CARRACING"
_FAST, _OFFICIAL = "fast", "official"


def use_official_drawing() -> None:
    """For this process and all that it starts (the option `--official-env`)."""
    os.environ[_VARIABLE] = _OFFICIAL


def fast_drawing_is_proved() -> bool:
    """Whether the fast CarRacing equals the official one here: frames decide, not version numbers.

    Also compiles its kernels, or loads them, before any worker starts. Says so on stderr when it is not proved.
    """
    if _VARIABLE not in os.environ:
        proved = _proved()
        os.environ[_VARIABLE] = _FAST if proved else _OFFICIAL
        if not proved:
            installed = f"gymnasium {version('gymnasium')}, pygame {pygame.ver}, numba {version('numba')}"
            print(
                f"The fast CarRacing does not equal the official one here ({installed}); "
                "the official drawing is used, which is many times slower.",
                file=sys.stderr,
            )
    return os.environ[_VARIABLE] == _FAST


def _proved() -> bool:
    # It builds on Gymnasium's own code, which another version may have changed in any way: whatever it raises then,
    # the official drawing is the answer, and the reason is shown.
    try:
        from vmc.envs.carracing import matches_official

        return matches_official()
    except Exception:
        traceback.print_exc()
        return False
