"""One run as a page: its headline and its sections."""

from __future__ import annotations

from pathlib import Path

from vmc.report.blocks import Cell, Headline, Missing, Number, Page
from vmc.report.page import check_page_path, write_page
from vmc.report.tables import duration
from vmc.run_report import commands
from vmc.run_report.about import about, recipe, repeat
from vmc.run_report.dreams import faithfulness, film, reconstructions
from vmc.run_report.evidence import curves, score
from vmc.run_report.files import RunFiles, rounded
from vmc.run_report.records import costs, versions
from vmc.stages.results import CONTROLLER

# In the order of the page. Every page has all of them.
_SECTIONS = (about, recipe, score, curves, reconstructions, film, faithfulness, costs, versions, repeat)
REPORT = "report.html"


def report_path(run: Path) -> Path:
    """Where the report of a run is written."""
    return run / REPORT


def write_report(run: Path, path: Path) -> Path:
    """Writes the report of a run, with all of its parts, also those that are missing: these say what makes them.

    Returns:
        The path.

    Raises:
        VmcError: the folder holds no run; one of its files is damaged; matplotlib is not installed; the file cannot be
            written.
    """
    check_page_path(path)
    files = RunFiles.read(run)
    page = Page(files.name, _lead(files), [section(files) for section in _SECTIONS], _headline(files))
    write_page(path, page)
    return path


def _lead(files: RunFiles) -> str:
    env = f"`{files.env}`" if files.env else "an environment that nothing here names"
    if files.policy != CONTROLLER:
        return f"The policy `{files.policy}` in {env}, without V, M and C: something to compare agents with."
    return (
        f"An agent for {env}, trained in its own world model: V compresses each frame, M predicts the next one, "
        "and C acts (“World Models”, Ha & Schmidhuber, 2018)."
    )


def _headline(files: RunFiles) -> Headline | Missing:
    test = files.test
    if test is None:
        return Missing("This run has no score yet: its C was not tested.", commands.test(files))
    low, high = test["ci95"]
    number = len(test["episodes"])
    facts: dict[str, Cell] = {
        "95% interval of the mean": (rounded(low), " to ", rounded(high)),
        "lowest and highest episode": (rounded(test["min"]), ", ", rounded(test["max"])),
    }
    if files.paper is not None:
        facts["the paper"] = files.paper.text
    frames, whole = files.costs.real_frames, files.costs.is_whole
    if whole and frames is not None:
        facts["real frames"] = rounded(frames, 0)
    if whole:
        facts["time of all stages"] = Number(files.costs.seconds, duration(files.costs.seconds))
    line = f"mean return ± standard deviation over {number} test episodes, which were not seen in training"
    return Headline(rounded(test["mean"]), rounded(test["std"]), line, facts)
