"""A run's score, and the curves of its training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from vmc.report.blocks import Block, Cell, Figure, Missing, Section, Table, Text
from vmc.report.curves import (
    SEARCHES_HEIGHT,
    TRAINING_CURVES,
    TRAINING_HEIGHT,
    draw_search,
    draw_searches,
    draw_training,
    search_height,
)
from vmc.report.scores import draw_returns
from vmc.report.svg import inline_svg
from vmc.run_report import commands
from vmc.run_report.files import RunFiles, rounded
from vmc.stages.provenance import PARTS
from vmc.stages.results import read_result
from vmc.storage.files import readable
from vmc.storage.metrics import read_metrics

_MOVE_AWAY = "Move it away: only the curves before are lost."


def score(files: RunFiles) -> Section:
    """The histogram of all test episodes, and the episodes themselves."""
    return Section("score", "Score", [*_score(files), *_dreamed_score(files)])


def _score(files: RunFiles) -> Iterator[Block]:
    test = files.test
    if test is None:
        yield Missing("There is no `test.json`, so there is no score.", commands.test(files))
        return
    returns, (low, high) = files.returns, test["ci95"]
    draw = partial(draw_returns, returns=returns, mean=test["mean"], interval=(low, high), paper=files.paper)
    yield Figure(
        inline_svg(draw, 3.6, "returns"),
        f"Histogram of the returns of {len(returns)} test episodes, from {test['min']:.1f} to {test['max']:.1f}. "
        f"Their mean is {test['mean']:.1f}, its 95% interval {low:.1f} to {high:.1f}."
        + (f" The paper's score is {files.paper.text}." if files.paper else ""),
        f"All {len(returns)} episodes of `test.json`. Their seeds are disjoint from those of training and validation.",
    )
    yield from _another_c(files)
    rows: list[list[Cell]] = [
        [f"{row.get('seed', '')}", rounded(row["episode_return"]), rounded(row["episode_length"], 0)]
        for row in test["episodes"]
    ]
    yield Table(["seed", "return", "steps"], rows, title=f"All {len(rows)} episodes")


def _another_c(files: RunFiles) -> Iterator[Block]:
    tested = files.test.get("controller") if files.test is not None else None
    present = files.models["C"].sha256 if "C" in files.models else None
    if tested and present and tested != present:
        text = f"`test.json` is of another C (SHA-256 {tested[:12]}) than the one in this folder ({present[:12]})."
        yield Missing(text, commands.test(files))


def _dreamed_score(files: RunFiles) -> Iterator[Block]:
    dreamed = read_result(files.path / "test-dream.json")
    if dreamed is not None:
        low, high = dreamed["ci95"]
        yield Text(
            f"In the dream, at temperature {dreamed.get('temperature')}, the same C has {dreamed['mean']:.1f} ± "
            f"{dreamed['std']:.1f} over {len(dreamed['episodes'])} episodes (95% interval of the mean {low:.1f} to "
            f"{high:.1f}; `test-dream.json`)."
        )


def curves(files: RunFiles) -> Section:
    """The search of C against real frames, hours and generations, and the training of V and M."""
    with readable(files.path / "controller" / "metrics.jsonl", _MOVE_AWAY):
        search = list(_search_curves(files))
    return Section("curves", "Learning curves", [*search, *_training_curves(files), *_without_metrics(files)])


def _search_curves(files: RunFiles) -> Iterator[Block]:
    search = files.search
    if not search.lines:
        return
    paper = (files.paper.mean, files.paper.label) if files.paper else None
    if search.validations("real"):
        draw = partial(draw_searches, searches={"C on validation episodes": [search]}, paper=paper)
        counted = (
            "Frames and hours include the data and the training of V and M, and not the test."
            if search.records
            else "There is no `run.json`: frames and hours are those of the search alone."
        )
        yield Figure(
            inline_svg(draw, SEARCHES_HEIGHT, "searches"),
            "The mean return of C on validation episodes, over millions of real frames and over hours.",
            f"Validation chooses the C that is kept (star). {counted}",
        )
    else:
        text = "No C was validated in the real environment, so there is no curve against real frames and hours."
        yield Missing(text, f"vmc train-controller --validate-in real --run {files.shell_path}")
    yield Figure(
        inline_svg(partial(draw_search, search=search, paper=paper), search_height(search), "search"),
        "The returns in training of each generation, from worst to best, and of C on validation episodes.",
        "The search: what each generation's candidates (CMA-ES) or episodes (other trainers) returned.",
    )


def _training_curves(files: RunFiles) -> Iterator[Block]:
    for folder, (title, curves) in TRAINING_CURVES.items():
        path = files.path / folder
        lines = read_metrics(path)
        if not lines:
            continue
        if len(lines) == 1:
            yield Text(
                f"{title}: `{path.name}/metrics.jsonl` holds one validation and no training, so there is no curve."
            )
            continue
        draw = partial(draw_training, lines=lines, title=title, curves=curves)
        with readable(path / "metrics.jsonl", _MOVE_AWAY):
            svg = inline_svg(draw, TRAINING_HEIGHT, folder)
        yield Figure(svg, f"{title}: its losses on training and validation episodes, over epochs.")


def _without_metrics(files: RunFiles) -> Iterator[Block]:
    """The parts whose training has left no metrics: those that are here all the same, and those that are not."""
    without = [part for part, (folder, _) in PARTS.items() if not read_metrics(folder(files.path))]
    trained = [part for part in without if part in files.models]
    if trained:
        yield Missing(
            f"The metrics of {_joined(trained)} are not here, as in an exported agent. A new training writes new ones.",
            commands.train(files, trained[0]),
        )
    untrained = [part for part in without if part not in trained]
    if untrained:
        yield Missing(
            f"There are no metrics of {_joined(untrained)}: no training in this folder has kept any.",
            commands.train_all(files, untrained),
        )


def _joined(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
