"""Recipes: how to train on an environment, as TOML files that anybody can read, change and hand on."""

from vmc.recipes.catalogue import (
    DEFAULT_PRESET,
    DREAM_PRESET,
    REAL_PRESET,
    SMOKE_PRESET,
    add_recipes,
    find_recipe,
    find_specific,
    is_file_name,
    open_recipe,
    preset_of,
    recipe_files,
)
from vmc.recipes.expansion import DueStage, completed, due_stages, first_settings
from vmc.recipes.reading import load_recipe
from vmc.recipes.recipe import Measured, Recipe
from vmc.recipes.writing import settings_toml, to_toml

__all__ = [
    "DEFAULT_PRESET",
    "DREAM_PRESET",
    "REAL_PRESET",
    "SMOKE_PRESET",
    "DueStage",
    "Measured",
    "Recipe",
    "add_recipes",
    "completed",
    "due_stages",
    "find_recipe",
    "find_specific",
    "first_settings",
    "is_file_name",
    "load_recipe",
    "open_recipe",
    "preset_of",
    "recipe_files",
    "settings_toml",
    "to_toml",
]
