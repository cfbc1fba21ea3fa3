"""The recipes by name: those that are shipped, and those of other packages."""

from __future__ import annotations

from pathlib import Path

from vmc.config import did_you_mean
from vmc.envs import env_slug, known_names
from vmc.errors import VmcError
from vmc.recipes.reading import load_recipe
from vmc.recipes.recipe import Recipe

DEFAULT_PRESET, DREAM_PRESET, REAL_PRESET, SMOKE_PRESET = "laptop", "dream", "real", "smoke"
_ENDING = ".toml"
# The last one that has a recipe of a name is the one that counts.
_FOLDERS = [Path(__file__).parent]


def add_recipes(folder: str | Path) -> None:
    """Adds a folder of recipes; call it where you register the environment that they are for.

    `myenv-v0-laptop.toml` is the preset `laptop` of `MyEnv-v0`; `laptop.toml` would be that of any environment.

    Raises:
        VmcError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VmcError(f"There is no folder {folder} of recipes.", "Give the folder of your TOML files.")
    _FOLDERS[:] = [*(known for known in _FOLDERS if known != folder), folder]


def recipe_files() -> dict[str, Path]:
    """The file of every recipe, by the recipe's name."""
    return {path.stem: path for folder in _FOLDERS for path in sorted(folder.glob(f"*{_ENDING}"))}


def find_recipe(preset: str, env: str) -> Recipe:
    """The recipe of a preset for an environment: the environment's own, or else that for any.

    Raises:
        VmcError: there is none; a recipe that cannot be read; an environment's name that cannot be.
    """
    found = find_specific(preset, env) or _find_generic(preset)
    if found is None:
        raise VmcError(f"There is no recipe {preset!r} for {env}.", did_you_mean(preset, _presets(env)))
    return found.adapted(env=env)


def find_specific(preset: str, env: str) -> Recipe | None:
    """The environment's own recipe of a preset, found by the rules of `vmc.envs.get_task`; None where it has none.

    Raises:
        VmcError: as `find_recipe`.
    """
    files = recipe_files()
    names = (f"{slug}-{preset}" for slug in _slugs(env))
    found = next((load_recipe(files[name]) for name in names if name in files), None)
    return found and found.adapted(env=env)


def open_recipe(file_or_name: str) -> Recipe:
    """The recipe in a file, or the one of a name.

    Raises:
        VmcError: there is none, or it cannot be read.
    """
    if is_file_name(file_or_name):
        return load_recipe(file_or_name)
    files = recipe_files()
    if file_or_name not in files:
        raise VmcError(f"There is no recipe {file_or_name!r}.", did_you_mean(file_or_name, files))
    return load_recipe(files[file_or_name])


def is_file_name(text: str) -> bool:
    """Returns whether this names a file, not a recipe of the catalogue."""
    return text.endswith(_ENDING) or len(Path(text).parts) > 1


def preset_of(recipe: Recipe) -> str:
    """The recipe's name without its environment's: `dream` of `carracing-v3-dream`."""
    prefixes = (f"{slug}-" for slug in _slugs(recipe.env)) if recipe.env else ()
    return next((recipe.name[len(prefix) :] for prefix in prefixes if recipe.name.startswith(prefix)), recipe.name)


def _find_generic(preset: str) -> Recipe | None:
    path = recipe_files().get(preset)
    found = path and load_recipe(path)
    return found if found and found.env is None else None


def _presets(env: str) -> list[str]:
    recipes, names = map(load_recipe, recipe_files().values()), known_names(env)
    return sorted({preset_of(recipe) for recipe in recipes if recipe.env is None or recipe.env in names})


def _slugs(env: str) -> list[str]:
    return list(dict.fromkeys(map(env_slug, known_names(env))))
