"""Chooses the fast drawing of CarRacing if it equals the official one on this machine, otherwise the official one.

The first process checks this once. Its workers inherit the result through an environment variable.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pygame

_VARIABLE = "VMC_CARRACING"
_FAST, _OFFICIAL = "fast", "official"
_COMPILING = "Compiling the fast CarRacing, once on this machine: about a minute."
# From numba's cache the kernels come within this time, and there is nothing to tell.
_LOADING_SECONDS = 3.0


def use_official_drawing() -> None:
    """Selects the official drawing for this process and its children (the option `--official-env`)."""
    os.environ[_VARIABLE] = _OFFICIAL


def inherited_variables() -> dict[str, str]:
    """What the environment of a worker on another machine must hold. Whether the fast drawing is right, it checks."""
    return {_VARIABLE: _OFFICIAL} if os.environ.get(_VARIABLE) == _OFFICIAL else {}


def fast_drawing_is_proved() -> bool:
    """Returns whether the fast CarRacing equals the official one on this machine, by a comparison of frames.

    It also compiles or loads the kernels before any worker starts. It prints a message to stderr if the two differ.
    """
    if _VARIABLE not in os.environ:
        with announced(_COMPILING):
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


@contextmanager
def announced(what: str, seconds: float = _LOADING_SECONDS) -> Iterator[None]:
    """Tells on stderr what is going on if the block takes longer than that, and how long it took."""
    started = time.monotonic()
    timer = threading.Timer(seconds, print, [what], {"file": sys.stderr, "flush": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    taken = time.monotonic() - started
    if taken > seconds:
        print(f"Done in {taken:.0f} s.", file=sys.stderr, flush=True)


def numba_cache() -> Path:
    """The folder in which numba keeps what it compiled."""
    from vmc.envs.preprocess import cache_folder

    return cache_folder()


def _proved() -> bool:
    # The fast environment uses Gymnasium's internals, and another version can change these in any way. After any error
    # the official drawing is used, and the traceback is shown.
    try:
        from vmc.envs.carracing import matches_official

        return matches_official()
    except Exception:
        traceback.print_exc()
        return False
