"""Temporary: the presets as dictionaries, until recipes replace them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmc.config import PRESETS
from vmc.envs import get_task


def preset_values(preset: str, env: str, stage: str) -> dict[str, Any]:
    """A preset's values for a stage, or another of its keys (`vmc.config.PRESETS`); the task's own come first."""
    values: dict[str, Any] = {}
    for layer in _layers(preset, env):
        values |= layer.get(stage, {})
    return values


def last_phases(preset: str, env: str) -> list[Mapping[str, Any]]:
    """A preset's `last-rounds`: the task's own, if it has any."""
    return list(next(layer["last-rounds"] for layer in reversed(_layers(preset, env)) if "last-rounds" in layer))


def _layers(preset: str, env: str) -> list[Mapping[str, Any]]:
    task = get_task(env)
    own = {"laptop": [task.laptop], "dream": [task.laptop, task.dream], "paper": [task.paper]}.get(preset, [])
    return [PRESETS[preset], *own]
