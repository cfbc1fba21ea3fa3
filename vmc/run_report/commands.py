"""The commands that a report names: they make what is missing, or repeat what is there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from vmc.run_report.files import RunFiles
from vmc.runs import RECIPE
from vmc.stages.provenance import PARTS
from vmc.stages.results import CONTROLLER


def resume(files: RunFiles) -> str:
    """Goes on with the run's recipe."""
    return f"vmc run --recipe {_recipe_path(files)} --run {files.shell_path}"


def train(files: RunFiles, part: str) -> str:
    """Makes V, M or C: in this folder, or in a new one where it is here already."""
    if part in files.models:
        return train_again(files)
    return resume(files) if files.has_recipe else go_on(files, part)


def go_on(files: RunFiles, part: str) -> str:
    """The stage that makes V, M or C, alone."""
    return f"{PARTS[part][1]} --run {files.shell_path}"


def train_all(files: RunFiles, parts: Iterable[str]) -> str:
    """Makes several parts: a command a line, each once."""
    return "\n".join(dict.fromkeys(train(files, part) for part in parts))


def train_again(files: RunFiles) -> str:
    """Trains all of it in new folders: by the run's recipe, or else by the default one of its environment."""
    if files.has_recipe:
        return f"vmc run --recipe {_recipe_path(files)} {new_folders(files)}"
    env = f" --env {shlex.quote(files.env)}" if files.env else ""
    return f"vmc run{env} {new_folders(files)}"


def train_preset(files: RunFiles, preset: str, seed: int) -> str:
    """Trains by a shipped recipe in new folders."""
    return f"vmc run --env {shlex.quote(str(files.env))} --preset {preset} --seed {seed} {new_folders(files)}"


def new_folders(files: RunFiles) -> str:
    """The options that name new folders beside the old ones."""
    run, data = files.path.with_name(f"{files.name}-again"), f"data/{files.name}-again"
    return f"--data {shlex.quote(data)} --run {shlex.quote(str(run))}"


def test(files: RunFiles) -> str:
    """Tests the run's C."""
    return f"vmc test {files.shell_path}"


def test_again(files: RunFiles, result: Mapping[str, Any]) -> str:
    """Repeats a test, on the same episodes."""
    config = result["config"]
    parts = [f"{test(files)} --env {shlex.quote(result['env'])} --episodes {len(result['episodes'])}"]
    parts.append(f"--seed {config['seed']}")
    if files.policy != CONTROLLER:
        parts.append(f"--policy {shlex.quote(files.policy)}")
    if config.get("max_steps") is not None:
        parts.append(f"--max-steps {config['max_steps']}")
    return " ".join(parts)


def faithfulness(files: RunFiles) -> str:
    """Compares the run's dream with the real environment."""
    return f"vmc faithfulness {files.shell_path}"


def _recipe_path(files: RunFiles) -> str:
    return shlex.quote(str(files.path / RECIPE))
