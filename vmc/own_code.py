"""Modules of the user's own, which options, recipes and checkpoints name: `module:Class`, `module:Env-v0`."""

from __future__ import annotations

import importlib
from importlib.machinery import PathFinder
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

from vmc.errors import VmcError

# What a run's or a data folder has somewhere below it.
_OF_RUNS = ("best.json", "latest.json", "*.h5")


def import_own(module: str) -> ModuleType:
    """Imports a module by its name.

    Raises:
        VmcError: it lies in a folder of runs or of data. They may be somebody else's, and must not bring code.
        ImportError, ValueError: as `importlib.import_module`.
    """
    _refuse_what_came_with_a_run(module)
    return importlib.import_module(module)


def resolve_own(place: str) -> Any:
    """What `module:Class` names.

    Raises:
        VmcError: as `import_own`.
        ImportError, AttributeError, ValueError: as `pkgutil.resolve_name`.
    """
    _refuse_what_came_with_a_run(place.partition(":")[0])
    return resolve_name(place)


def _refuse_what_came_with_a_run(module: str) -> None:
    """Looks at the folder of the working folder that an import would find; nothing is imported for it."""
    package = module.partition(".")[0]
    if package == __name__.partition(".")[0]:
        return
    spec = PathFinder.find_spec(package)
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location)
        is_here = folder.parent.resolve() == Path.cwd().resolve()
        if is_here and any(found for pattern in _OF_RUNS for found in folder.rglob(pattern)):
            raise VmcError(
                f"The module {module!r} lies in {folder}, which holds runs or data; nothing there is imported.",
                "Move the module into a folder of its own, if you trust it.",
            )
