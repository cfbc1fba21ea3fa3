"""Fills the README's tables from the JSON files in `results/`, and draws its figures; a test checks the tables.

python benchmarks/readme_tables.py
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmc.ablation import ROWS
from vmc.report.curves import plot_searches
from vmc.report.faithfulness import plot_faithfulness

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"

# Runs with a score over 100 unseen tracks, best first.
_SCORED = {
    "carracing-full": "V and M of `results/carracing/`, C from nothing in reality",
    "dream": "C evolved in the dream alone, from 0.97 million real frames",
    "carracing": "an earlier preset: ten rounds in the dream and one in reality",
    "laptop": "today's `vmc run`: seven rounds in the dream and one in reality",
    "carracing-first": "the first run: reality alone, V and M on poor data",
}
# The paper's table, on CarRacing-v0.
_PAPER = [("the paper's full model, CarRacing-v0", "906 ± 21")]


def scores_table() -> str:
    """Scores over 100 unseen tracks, ours and the paper's."""
    rows = ["| | mean ± std of 100 | 95% of the mean | min, max | figures |", "|---|---|---|---|---|"]
    for folder, title in _SCORED.items():
        test = _load(f"{folder}/test.json")
        assert len(test["episodes"]) == 100
        low, high = test["ci95"]
        rows.append(
            f"| {title} | **{test['mean']:.0f} ± {test['std']:.0f}** | {low:.0f} to {high:.0f} "
            f"| {test['min']:.0f}, {test['max']:.0f} | `results/{folder}/` |"
        )
    rows += [f"| {title} | {score} | | | |" for title, score in _PAPER]
    return "\n".join(rows)


def ablation_table() -> str:
    """The rows of `vmc ablate`, with what each has cost."""
    rows = ["| | paper | mean ± std of 100 | 95% of the mean | real frames | hours |", "|---|---|---|---|---|---|"]
    for row in _load("ablation/ablation.json"):
        low, high = row["ci95"]
        cost = f"{row['real_frames'] / 1e6:.2f} million | {row['hours']:.2f}" if row["real_frames"] else "0 | 0"
        score = f"**{row['mean']:.0f} ± {row['std']:.0f}** | {low:.0f} to {high:.0f}"
        rows.append(f"| {row['title']}{_generations(row['row'])} | {row['paper']} | {score} | {cost} |")
    return "\n".join(rows)


def _generations(row: str) -> str:
    """How long a row with a real fitness was searched for."""
    config = RESULTS / "ablation" / row / "controller" / "config.json"
    settings = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {"dream": True}
    return "" if settings["dream"] else f", {settings['generations']} generations"


def bench_table() -> str:
    """`results/bench.json` as `vmc bench` prints it."""
    bench = _load("bench.json")
    rows = ["| | | rate | ratio | of the floor |", "|---|---|---|---|---|"]
    group = None
    for row in bench["results"]:
        title = "" if row["group"] == group else row["group"]
        group = row["group"]
        ratio = "1" if row["ratio"] is None else f"{row['ratio']:.3g}"
        floor = "" if row["floor"] is None else f"{100 * row['floor_share']:.2g}% {row['floor']}"
        rows.append(f"| {title} | {row['name']} | {row['rate']:,.0f} {row['unit']}/s | {ratio} | {floor} |")
    machine = bench["machine"]
    rows.append("")
    rows.append(
        f"{machine['processor']}, {machine['cores']} cores; GEMM {machine['gemm_gflops']:.0f} GF/s on both, "
        f"copy {machine['copy_gigabytes']:.1f} GB/s on one."
    )
    return "\n".join(rows)


def temperatures_table() -> str:
    """The paper's table for the C that was evolved in the dream."""
    rows = _load("dream/test-temperatures.json")
    names = [f"{row['temperature']:g}" if row["temperature"] else "reality" for row in rows]
    return "\n".join(
        [
            f"| temperature | {' | '.join(names)} |",
            "|---" * (len(rows) + 1) + "|",
            f"| mean return of 100 | {' | '.join(format(row['mean'], '.0f') for row in rows)} |",
            f"| standard deviation | {' | '.join(format(row['std'], '.0f') for row in rows)} |",
        ]
    )


# The paper's table 2: temperature, virtual and actual score.
_PAPER_TAKE_COVER = {
    0.1: ("2086 ± 140", "193 ± 58"),
    0.5: ("2060 ± 277", "196 ± 50"),
    1.0: ("1145 ± 690", "868 ± 511"),
    1.15: ("918 ± 546", "1092 ± 556"),
    1.3: ("732 ± 269", "753 ± 139"),
}


def take_cover_table() -> str:
    """A C evolved in Doom's dream at each temperature: its scores there and in the game, and the paper's."""
    rows = [
        "| temperature | dreamed | in the game | 95% of the mean | paper: dreamed | in the game |",
        "|---|---|---|---|---|---|",
    ]
    for row in _load("take-cover-temperatures.json")["rows"]:
        virtual, actual = (f"{row[place]['mean']:.0f} ± {row[place]['std']:.0f}" for place in ("virtual", "actual"))
        low, high = row["actual"]["ci95"]
        paper = " | ".join(_PAPER_TAKE_COVER.get(row["temperature"], ("", "")))
        rows.append(f"| {row['temperature']:g} | {virtual} | **{actual}** | {low:.0f} to {high:.0f} | {paper} |")
    return "\n".join(rows)


def environments_table() -> str:
    """The built-in entries' scores."""
    rows = [
        "| environment | mean return of 20 | solved at | random policy | real steps | time |",
        "|---|---|---|---|---|---|",
    ]
    for row in _load("environments.json"):
        solved = "none" if row["threshold"] is None else f"{row['threshold']:g}"
        figures = (
            f"`{row['env']}`",
            f"{row['mean']:.1f} ± {row['std']:.1f}",
            solved,
            f"{row['random']['mean']:.0f}",
            f"{row['real_steps'] / 1e6:.2f} million",
            f"{row['seconds']:.0f} s",
        )
        rows.append(f"| {' | '.join(figures)} |")
    return "\n".join(rows)


def dynamics_table() -> str:
    """The kinds of M on CarRacing and on one vector environment."""
    heads = ("M", "mixture", "NLL", "dream error, 50 steps", "dream steps/s", "C, of 20 episodes")
    rows = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name in ("dynamics-carracing", "dynamics-mountaincar"):
        compared = _load(f"{name}.json")
        for position, row in enumerate(compared["rows"]):
            figures = (
                "" if position else f"`{compared['env']}`",
                row["dynamics"],
                row["mixture"],
                f"{row['nll_per_dimension']:.2f}",
                f"{row['dream_error_50']:.2f}",
                f"{row['dream_steps_per_second']['median']:,.0f}",
                f"{row['score']['mean']:.1f} ± {row['score']['std']:.1f}",
            )
            rows.append(f"| {' | '.join(figures)} |")
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "scores": scores_table,
    "ablation": ablation_table,
    "temperatures": temperatures_table,
    "take-cover": take_cover_table,
    "bench": bench_table,
    "environments": environments_table,
    "dynamics": dynamics_table,
}


def filled(text: str) -> str:
    """The README with every `<!-- table: NAME -->` block filled."""
    for name, make in TABLES.items():
        before, begin, rest = text.partition(f"<!-- table: {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        assert end, name
        text = f"{before}{begin}\n{make()}\n\n{end}{after}"
    return text


def _load(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(filled(readme.read_text(encoding="utf-8")), encoding="utf-8")
    searches = {row.title: RESULTS / "ablation" / name for name, row in ROWS.items()}
    plot_searches(searches, RESULTS / "ablation" / "searches.png")
    plot_faithfulness(_load("dream/faithfulness.json"), RESULTS / "dream" / "faithfulness.png")
