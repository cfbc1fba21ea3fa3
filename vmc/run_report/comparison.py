"""Several runs beside each other, as a page: a section for each environment."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from vmc.envs import env_slug
from vmc.errors import VmcError
from vmc.report import style
from vmc.report.blocks import Block, Cell, Figure, Missing, Number, Page, Section, Table
from vmc.report.curves import SEARCHES_HEIGHT, draw_searches
from vmc.report.page import check_page_path, write_page
from vmc.report.scores import Mean, Published, draw_means, means_height
from vmc.report.svg import inline_svg
from vmc.report.tables import duration
from vmc.run_report import commands
from vmc.run_report.files import RunFiles, rounded
from vmc.run_report.single import REPORT
from vmc.stages.results import CONTROLLER

_UNKNOWN = "unknown"
_HEAD = ("run", "mean ± std", "95% of the mean", "episodes", "real frames", "time", "recipe")
_COUNTED = (
    "Real frames: data, search and validation. Time: all stages. A star: there is no `run.json`, and only stages that "
    "kept their metrics are counted."
)
Runs = Mapping[str, RunFiles]
Styles = Mapping[str, tuple[str, str]]


def comparison_path(runs: Sequence[Path]) -> Path:
    """Where a comparison is written: in the folder that holds all of the runs.

    Raises:
        VmcError: they have no folder in common but the root.
    """
    common = _common_folder(runs)
    if common == common.parent:
        raise VmcError("These runs have no folder in common.", "Say where the report shall be: --to FILE.html.")
    here = Path.cwd()
    return (common.relative_to(here) if common.is_relative_to(here) else common) / REPORT


def _common_folder(runs: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([run.resolve().parent for run in runs]))


def write_comparison(runs: Sequence[Path], path: Path) -> Path:
    """Writes a table and figures of several runs, for each environment by itself.

    Returns:
        The path.

    Raises:
        VmcError: as `write_report`; a run is given twice.
    """
    check_page_path(path)
    twice = [str(run) for run, times in Counter(run.resolve() for run in runs).items() if times > 1]
    if twice:
        raise VmcError(f"{twice[0]} is given twice.", "Give each run once.")
    compared = dict(zip(_labels(runs), map(RunFiles.read, runs), strict=True))
    envs = list(dict.fromkeys(each.env for each in compared.values()))
    sections = [_section(env, {label: each for label, each in compared.items() if each.env == env}) for env in envs]
    where = f"`{envs[0] or _UNKNOWN}`" if len(envs) == 1 else f"{len(envs)} environments, compared within each"
    write_page(path, Page("Runs compared", f"{len(runs)} runs in {where}.", sections))
    return path


def _labels(runs: Sequence[Path]) -> list[str]:
    """Each run's path below the folder that holds all of them."""
    folder = _common_folder(runs)
    return [run.resolve().relative_to(folder).as_posix() for run in runs]


def _section(env: str | None, runs: Runs) -> Section:
    name = re.sub(r"\W+", "-", env_slug(env or _UNKNOWN))
    styles = style.series(runs)
    blocks = [_table(runs), *_means(name, runs, styles), *_searches(name, runs, styles)]
    return Section(name, env or "Unknown environment", blocks)


def _table(runs: Runs) -> Table:
    paper = _paper(runs)
    caption = f"{_COUNTED} The paper has {paper.text}." if paper else _COUNTED
    return Table(_HEAD, [_row(label, run) for label, run in runs.items()], caption)


def _paper(runs: Runs) -> Published | None:
    """That of their environment."""
    return next(iter(runs.values())).paper


def _row(label: str, run: RunFiles) -> list[Cell]:
    return [f"`{label}`", *_score(run), *_cost(run), _recipe(run)]


def _score(run: RunFiles) -> Iterator[Cell]:
    test = run.test
    if test is None:
        yield from (f"not tested: `{commands.test(run)}`", "", "")
        return
    low, high = test["ci95"]
    yield (rounded(test["mean"]), " ± ", rounded(test["std"]))
    yield (rounded(low), " to ", rounded(high))
    yield rounded(len(test["episodes"]), 0)


def _cost(run: RunFiles) -> Iterator[Cell]:
    frames, seconds = run.costs.real_frames, run.costs.seconds
    star = "" if run.costs.is_whole else " *"
    yield _UNKNOWN if frames is None else (rounded(frames, 0), star)
    yield (Number(seconds, duration(seconds)), star) if run.costs.stages else _UNKNOWN


def _recipe(run: RunFiles) -> Cell:
    origin = run.origin
    if run.policy != CONTROLLER:
        return f"none: policy `{run.policy}`"
    if origin is None:
        return _UNKNOWN
    if not run.has_recipe:
        return "options in `run.json`" if origin.file == "run.json" else "stage by stage"
    return f"`{origin.preset}`" if origin.preset else origin.recipe.description or "`recipe.toml`"


def _means(name: str, runs: Runs, styles: Styles) -> Iterator[Block]:
    tested = {label: run.test for label, run in runs.items() if run.test is not None}
    if not tested:
        tests = "\n".join(commands.test(run) for run in runs.values())
        yield Missing("No run was tested, so there is no figure of scores.", tests)
        return
    means = [Mean(label, test["mean"], *test["ci95"]) for label, test in tested.items()]
    paper = _paper(runs)
    draw = partial(draw_means, means=means, paper=paper, styles=styles)
    told = "; ".join(f"{each.name} {each.mean:.1f}, {each.low:.1f} to {each.high:.1f}" for each in means)
    line = f" The dashed line is the paper's {paper.text}." if paper else ""
    yield Figure(
        inline_svg(draw, means_height(len(means)), f"{name}-means"),
        f"Mean return and 95% interval of each run: {told}.{line}",
        f"Mean return over the test episodes, with its 95% interval.{line}",
    )


def _searches(name: str, runs: Runs, styles: Styles) -> Iterator[Block]:
    validated = {label: run for label, run in runs.items() if run.search.validations("real")}
    # A search alone beside a whole run would look cheap.
    whole = {label: run for label, run in validated.items() if run.costs.is_whole}
    searches = {label: [run.search] for label, run in (whole or validated).items()}
    if not searches:
        yield Missing(
            "No run has kept validations of its search in the real environment, so there are no learning curves. "
            "`vmc run` and `vmc train-controller` write them."
        )
        return
    paper = _paper(runs)
    line = (paper.mean, paper.label) if paper else None
    draw = partial(draw_searches, searches=searches, paper=line, styles=styles)
    without = [f"`{label}`" for label in runs if label not in searches]
    note = f" Without curves, or without the costs of all stages: {', '.join(without)}." if without else ""
    counted = "" if whole else " Frames and hours are those of the search alone: there is no `run.json`."
    yield Figure(
        inline_svg(draw, SEARCHES_HEIGHT, f"{name}-searches"),
        f"Mean return on validation episodes over real frames and over hours, for {', '.join(searches)}.",
        f"C on validation episodes; the star is the C that was kept.{counted}{note}",
    )
