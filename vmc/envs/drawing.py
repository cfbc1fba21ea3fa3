"""Chooses the fast drawing of CarRacing if it equals the official one on this machine, otherwise the official one.

The first process checks this once. Its workers inherit the result through an environment variable.
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
    """Selects the official drawing for this process and its children (the option `--official-env`)."""
    os.environ[_VARIABLE] = _OFFICIAL


def fast_drawing_is_proved() -> bool:
    """Whether the fast CarRacing equals the official one on this machine, by a comparison of frames.

    It also compiles or loads the kernels before any worker starts. It prints a message to stderr if the two differ.
    """
    if _VARIABLE not in os.environ:
        proved = _proved()
        os.environ[_VARIABLE] = _FAST if proved else _OFFICIAL
        if not proved:
            installed = f"gymnasium {version('gymnasium')}, pygame {pygame.ver}, numba {version('numba')}"
            print(
                f"The fast CarRacing differs from the official one on this machine ({installed}). "
                "vmc uses the official drawing, which is many times slower.",
                file=sys.stderr,
            )
    return os.environ[_VARIABLE] == _FAST


def _proved() -> bool:
    # The fast environment uses Gymnasium's internals, and another version can change these in any way. After any error
    # the official drawing is used, and the traceback is shown.
    try:
        from vmc.envs.carracing import matches_official

        return matches_official()
    except Exception:
        traceback.print_exc()
        return False
