"""What a run has cost, and what it was made with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vmc.extras import VERSION
from vmc.report.blocks import Block, Cell, Missing, Number, Section, Table, Text
from vmc.report.costs import StageCost
from vmc.report.tables import duration
from vmc.run_report import commands
from vmc.run_report.files import RunFiles, rounded
from vmc.storage.files import readable

_COUNTED = (
    "Real frames are those of the environment: data, search and validation. The test's episodes cost {} frames more."
)


def costs(files: RunFiles) -> Section:
    """Time and frames by stage."""
    return Section("costs", "Costs", list(_costs(files)))


def _costs(files: RunFiles) -> Iterator[Block]:
    found = files.costs
    if not found.stages:
        text = "What the stages have cost is not known: there is no `run.json`, and no stage has kept its metrics."
        yield Missing(text)
        return
    if not found.is_whole:
        yield Text(
            "The stages were run one by one: there is no `run.json`. These are the stages that kept `metrics.jsonl`; "
            "the others are not counted."
        )
    rows = [_row(stage, found.seconds) for stage in found.stages]
    frames: Cell = "" if found.real_frames is None else rounded(found.real_frames, 0)
    rows.append(["all", "", _time(found.seconds), "", frames])
    steps = sum(episode["episode_length"] for episode in files.test["episodes"]) if files.test is not None else 0
    caption = _COUNTED.format(f"{steps:,}") if steps else ""
    yield Table(["stage", "rounds", "time", "share of the time (%)", "real frames"], rows, caption, total=True)
    if files.search.records:
        yield _every_record(files)


def _row(stage: StageCost, total: float) -> list[Cell]:
    share: Cell = rounded(100 * stage.seconds / total, 0) if total else ""
    frames: Cell = "" if stage.real_frames is None else rounded(stage.real_frames, 0)
    return [f"`{stage.stage}`", rounded(stage.rounds, 0), _time(stage.seconds), share, frames]


def _every_record(files: RunFiles) -> Table:
    with readable(files.path / "run.json", "Move it away: the report is made without it."):
        rows: list[list[Cell]] = [
            [rounded(each["round"] + 1, 0), f"`{each['stage']}`", _time(each["seconds"]), _metrics(each["metrics"])]
            for each in files.search.records
        ]
    return Table(["round", "stage", "time", "metrics"], rows, title=f"All {len(rows)} stages of all rounds")


def _metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:,.5g}" for name, value in metrics.items())


def _time(seconds: float) -> Number:
    return Number(seconds, duration(seconds))


def versions(files: RunFiles) -> Section:
    """The software, and the hashes of the models and the data."""
    return Section("versions", "Versions and hashes", [*_hashes(files), *_versions(files)])


def _hashes(files: RunFiles) -> Iterator[Block]:
    rows: list[list[Cell]] = [[part, f"`{model.sha256}`"] for part, model in files.models.items()]
    for part in ("V", "M"):
        data = files.models[part].info.get("inputs", {}).get("data") if part in files.models else None
        if data:
            rows.append([f"the episodes that {part} was trained on", f"`{data}`"])
    if files.test is not None and files.test.get("controller"):
        rows.append(["the C that was tested", f"`{files.test['controller']}`"])
    if rows:
        yield Table(["what", "SHA-256"], rows, "Of the weights and of the data.")
    else:
        yield Missing("There are no hashes: this folder holds no V, M or C.", commands.train(files, "V"))


def _versions(files: RunFiles) -> Iterator[Block]:
    sources = {part: dict(model.versions) for part, model in files.models.items()}
    if files.test is not None:
        sources["test"] = dict(files.test["versions"])
    if not sources:
        yield Missing("No file here names the versions of the software.", commands.test(files))
        return
    groups = _grouped(sources)
    names = dict.fromkeys(name for found in sources.values() for name in found)
    rows: list[list[Cell]] = [[name, *(found.get(name, "") for found in groups.values())] for name in names]
    yield Table(["package", *groups], rows, f"This report was made by vmc {VERSION}.")


def _grouped(sources: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Those with the same versions in one column: `V, M, C`."""
    groups: list[tuple[list[str], Mapping[str, str]]] = []
    for name, found in sources.items():
        same = next((names for names, versions in groups if versions == found), None)
        if same is None:
            groups.append(([name], found))
        else:
            same.append(name)
    return {", ".join(names): found for names, found in groups}
