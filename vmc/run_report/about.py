"""What a run is, its recipe, and the commands that repeat it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from vmc.recipes import Recipe
from vmc.report.blocks import Block, Cell, Code, Missing, Section, Table, Text
from vmc.report.search import PLACES
from vmc.run_report import commands
from vmc.run_report.files import RunFiles, rounded, told
from vmc.stages.provenance import PARTS, Model, interrupted_parts
from vmc.stages.results import CONTROLLER

_NO_RECIPE = (
    "Nothing here tells the recipe: there is no `recipe.toml` and no `run.json`. `vmc run` writes both; an exported "
    "agent has neither."
)
_CARD = "README.md"
# What a recipe's table shows of each stage's options.
_TOLD: dict[str, dict[str, str]] = {
    "rollouts": {"episodes": "{} episodes", "policy": "by `{}`", "max_steps": "of up to {} steps"},
    "train-vae": {"epochs": "{} epochs", "vision": "`{}`"},
    "train-mdrnn": {"epochs": "{} epochs", "dynamics": "`{}`"},
    "test": {"episodes": "{} episodes"},
}
# The same for C, by the trainer.
_SEARCHES: dict[str, dict[str, str]] = {
    "cma-es": {
        "generations": "{} generations of",
        "population_size": "{} candidates,",
        "rollouts_per_candidate": "{} episodes each,",
        "dream": "in {}",
    },
    "ppo": {
        "generations": "{} generations of",
        "rollouts": "{} episodes for PPO",
        "dream": "in {}",
    },
    "actor-critic": {"generations": "{} generations of an actor-critic", "dream": "in {}"},
    "planner": {"plan_steps": "none: a planner looks {} steps ahead"},
}
_FOUND_BY = {
    "cma-es": "CMA-ES finds C by its return in the real environment or in the dream.",
    "ppo": "PPO finds C from what it does in the real environment or in the dream.",
    "actor-critic": "An actor-critic finds C in short dreams.",
    "planner": "A planner searches around what C proposes, in the dream, at every step.",
}


def about(files: RunFiles) -> Section:
    """The parts of the agent, and what is not done yet."""
    if files.policy != CONTROLLER:
        text = f"The policy `{files.policy}` needs no model: there is nothing to train, to dream or to film."
        return Section("about", "What it is", [Text(text)])
    return Section("about", "What it is", [*_parts(files), *_unfinished(files)])


def _parts(files: RunFiles) -> Iterator[Block]:
    yield Text(
        "V compresses each frame into a latent z. M, given z and an action, predicts the next z, the reward and the "
        "end of the episode; stepped by itself it is a dream. C maps z and M's memory to an action. "
        f"{_how_found(files)}"
    )
    if files.models:
        rows = [_model_row(part, model) for part, model in files.models.items()]
        yield Table(["part", "kind", "shape", "parameters", "kept", "on validation episodes"], rows)
    for model in files.models.values():
        if model.fault is not None:
            yield Missing(told(model.fault))
    absent = [part for part in PARTS if part not in files.models]
    if absent:
        yield Missing(f"This folder holds no {' and no '.join(absent)}.", commands.train_all(files, absent))


def _how_found(files: RunFiles) -> str:
    info = files.models["C"].info if "C" in files.models else {}
    where = PLACES.get(info.get("fitness", ""))
    found = _FOUND_BY.get(info.get("trainer", "cma-es"), "")
    return f"{found} This C was last searched in {where}." if where else found


def _model_row(part: str, model: Model) -> list[Cell]:
    info = model.info
    shape = dict(info.get("model", {}))
    kind = info.get("kind") or ("one hidden layer" if shape.get("hidden_units") else "linear")
    kept = next((f"{unit} {info[unit]}" for unit in ("epoch", "generation") if unit in info), "")
    metrics = dict(info.get("metrics", {}))
    if info.get("validation_return") is not None:
        metrics["mean return"] = info["validation_return"]
    metrics.pop("loss", None)  # the sum of the others, weighted
    number: Cell = "unknown" if model.num_parameters is None else rounded(model.num_parameters, 0)
    return [part, kind, _listed(shape, "{}"), number, kept, _listed(metrics, "{:,.4g}")]


def _listed(values: Mapping[str, Any], form: str) -> str:
    texts = ((name.replace("_", " "), value) for name, value in values.items() if value is not None)
    return ", ".join(f"{name} {form.format(value) if isinstance(value, float) else value}" for name, value in texts)


def _unfinished(files: RunFiles) -> Iterator[Block]:
    if files.origin is not None and files.origin.due:
        due = files.origin.due
        listed = ", ".join(due[:3]) + (f" and {len(due) - 3} more" if len(due) > 3 else "")
        yield Missing(f"The recipe is not finished. Still to come: {listed}.", commands.resume(files))
        return
    for part in interrupted_parts(files.path):
        what = "search for C" if part == "C" else f"training of {part}"
        yield Missing(f"The {what} was stopped on its way. It goes on with:", commands.go_on(files, part))


def recipe(files: RunFiles) -> Section:
    """The recipe in a table, and all of its options."""
    return Section("recipe", "Recipe", list(_recipe(files)))


def _recipe(files: RunFiles) -> Iterator[Block]:
    origin = files.origin
    if origin is None:
        card = files.path / _CARD
        yield Missing(_NO_RECIPE, None if card.exists() else commands.train_again(files))
        if card.exists():
            yield Code(card.read_text(encoding="utf-8", errors="replace"), f"What its {_CARD} says")
        return
    if files.has_recipe:
        preset = f" It is the shipped recipe `{origin.preset}`." if origin.preset else ""
        yield Text(f"{origin.recipe.description}{preset} Seed {origin.recipe.seed}.".strip())
    else:
        yield Text(f"There is no `recipe.toml`. The options are those in `{origin.file}`.")
    yield _rounds(origin.recipe)
    yield Code(origin.toml, f"All options, as TOML ({len(origin.toml.splitlines())} lines)")


def _rounds(recipe: Recipe) -> Table:
    """A row for each round, or for several rounds that are the same."""
    stages, rows, first = recipe.stages(), [], 1
    for round_, same in groupby(recipe.rounds):
        last = first + len(list(same)) - 1
        number = f"{first}" if first == last else f"{first} to {last}"
        rows.append([number, *(_told(stage, round_[stage]) if stage in round_ else "" for stage in stages)])
        first = last + 1
    return Table(["round", *stages], rows)


def _told(stage: str, options: Mapping[str, Any]) -> str:
    values = {**options, "dream": PLACES["dream" if options.get("dream") else "real"]}
    forms = _SEARCHES.get(options.get("trainer", "cma-es"), {}) if stage == "train-controller" else _TOLD.get(stage, {})
    told = " ".join(form.format(values[name]) for name, form in forms.items() if name in values)
    return re.sub(r"\b1 (epoch|episode|generation|candidate|step)s\b", r"1 \1", told)


def repeat(files: RunFiles) -> Section:
    """The commands that make the run again, and that test it again."""
    return Section("repeat", "Repeat it", list(_repeat(files)))


def _repeat(files: RunFiles) -> Iterator[Block]:
    yield from _train_again(files)
    yield from _test_again(files)
    yield Text(
        "On the same machine and versions the numbers are the same, bit for bit on a CPU. On another processor single "
        "episodes differ; the mean hardly changes."
    )


def _train_again(files: RunFiles) -> Iterator[Block]:
    origin = files.origin
    if origin is None or origin.file == "config.json":
        yield Missing("The stages were run one by one, or elsewhere: no single command repeats the training.")
    elif origin.problem:
        yield Missing(f"No command of this version repeats the training. The options above are older: {origin.problem}")
    elif files.has_recipe:
        yield Text("To train it again, in new folders:")
        yield Code(commands.train_again(files))
        if origin.preset:
            yield Text("The shipped recipe is the same:")
            yield Code(commands.train_preset(files, origin.preset, origin.recipe.seed))
    else:
        yield Text("To train it again, save the options above as `again.toml`, and run them in new folders:")
        yield Code(f"vmc run --recipe again.toml {commands.new_folders(files)}")


def _test_again(files: RunFiles) -> Iterator[Block]:
    if files.test is None:
        yield Missing("It was not tested; this tests it.", commands.test(files))
    elif files.policy == CONTROLLER and set(files.models) != set(PARTS):
        yield Missing("It cannot be tested again: V, M and C are not all here. Train it first.")
    else:
        yield Text("To test it again, on the same episodes:")
        yield Code(commands.test_again(files, files.test))
