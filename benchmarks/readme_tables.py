"""Fills the tables of README and `docs/` from `results/*.json`, writes the page of the command line, draws figures.

python benchmarks/readme_tables.py

A test compares the documents with what this makes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from vmc.ablation import ROWS
from vmc.cli import main as vmc_command
from vmc.envs import CARRACING
from vmc.recipes import load_recipe, preset_of, recipe_files
from vmc.report.curves import plot_searches
from vmc.report.faithfulness import plot_faithfulness

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
COMMAND_LINE = ROOT / "docs" / "command-line.md"

# Runs with a score over 100 unseen tracks, best first.
_SCORED = {
    "carracing": "C evolved from zeros in the real environment",
    "dream": "C evolved in the dream alone",
    "ten-rounds": "ten rounds in the dream, one in the real environment (an earlier preset)",
    "laptop": "five rounds in the dream, then C from zeros in the real environment (`laptop` today)",
    "carracing-first": "two rounds in the real environment (the first run)",
}
# An episode of CarRacing on one core.
EPISODE_MS = 500
# The paper's table, on CarRacing-v0.
_PAPER = [("the paper's full model, CarRacing-v0", "906 ± 21")]


def scores_table() -> str:
    """Scores over 100 unseen tracks, ours and the paper's."""
    rows = ["| | mean ± std of 100 | 95% of the mean | min, max | in `results/` |", "|---|---|---|---|---|"]
    for folder, title in _SCORED.items():
        test = _load(f"{folder}/test.json")
        assert len(test["episodes"]) == 100
        low, high = test["ci95"]
        rows.append(
            f"| {title} | **{test['mean']:.0f} ± {test['std']:.0f}** | {low:.0f} to {high:.0f} "
            f"| {test['min']:.0f}, {test['max']:.0f} | `{folder}` |"
        )
    rows += [f"| {title} | {score} | | | |" for title, score in _PAPER]
    return "\n".join(rows)


# The README's rows: the folder, what was done, and the paper's score.
_SUMMARY = (
    ("carracing", "CarRacing, C evolved in the real environment", "906 ± 21"),
    ("dream", "CarRacing, C evolved in the dream alone", ""),
    ("laptop", "CarRacing, `vmc run --preset laptop`, 1.6 hours on 2 cores", ""),
    ("quick", "CarRacing, `vmc run --preset quick`, 10 minutes on 2 cores", ""),
    ("take-cover", "Doom's take cover, C evolved in the dream alone", "1092 ± 556"),
)


def summary_table() -> str:
    """The README's table."""
    rows = ["| | mean ± std | 95% of the mean | episodes | paper |", "|---|---|---|---|---|"]
    for folder, title, paper in _SUMMARY:
        test = _load(f"{folder}/test.json")
        low, high = test["ci95"]
        score = f"**{test['mean']:.0f} ± {test['std']:.0f}** | {low:.0f} to {high:.0f} | {len(test['episodes'])}"
        rows.append(f"| {title} | {score} | {paper} |")
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
    rows = ["| temperature | mean ± std of 100 | 95% of the mean |", "|---|---|---|"]
    for row in _load("dream/test-temperatures.json"):
        place = f"{row['temperature']:g}" if row["temperature"] else "the real environment"
        low, high = row["ci95"]
        rows.append(f"| {place} | {row['mean']:.0f} ± {row['std']:.0f} | {low:.0f} to {high:.0f} |")
    return "\n".join(rows)


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
                f"{row['scores']['cma-es']['mean']:.1f} ± {row['scores']['cma-es']['std']:.1f}",
            )
            rows.append(f"| {' | '.join(figures)} |")
    return "\n".join(rows)


def retest_table() -> str:
    """Agents as float32, and on the test tracks of another seed; the other results are in `scores`."""
    rows = [
        "| run | weights | test seed | mean ± std of 100 | 95% of the mean | min, max |",
        "|---|---|---|---|---|---|",
    ]
    for row in _load("carracing-retest.json")["tests"]:
        if (row["copy"], row["seed"]) == ("float16", 0):
            continue
        low, high = row["ci95"]
        rows.append(
            f"| `{row['run']}` | {row['copy']} | {row['seed']} | {row['mean']:.0f} ± {row['std']:.0f} "
            f"| {low:.0f} to {high:.0f} | {row['min']:.0f}, {row['max']:.0f} |"
        )
    return "\n".join(rows)


def take_cover_score_table() -> str:
    """The agent of take cover, and the paper's scores."""
    test = _load("take-cover/test.json")
    low, high = test["ci95"]
    figures = (
        f"**{test['mean']:.0f} ± {test['std']:.0f}**",
        f"{low:.0f} to {high:.0f}",
        f"{test['min']:.0f}, {test['max']:.0f}",
    )
    return "\n".join(
        [
            "| | tics survived, mean ± std | 95% of the mean | min, max |",
            "|---|---|---|---|",
            f"| `results/take-cover/`, C evolved in the dream alone | {' | '.join(figures)} |",
            f"| the paper's, at temperature 1.15 | {_PAPER_TAKE_COVER[1.15][1]} | | |",
        ]
    )


# The rows of `doom_calibration.py`, in words.
_CALIBRATED = {
    "every tic": "a new action every tic",
    "every tic, resolution": "the same, 640x480 instead of 160x120",
    "every tic, no hud": "the same, no status bar",
    "every tic, start tic 1": "the same, start tic 1 (ViZDoom's own)",
    "every tic, skill 1": "the same, skill 1 (half the damage)",
    "every tic, skill 2": "the same, skill 2",
    "every tic, skill 3": "the same, skill 3",
    "every tic, skill 5": "the same, skill 5 (fast fireballs)",
    "every 2 tics": "a new action every 2 tics",
    "every 4 tics": "a new action every 4 tics",
    "held 1 to 10 tics": "each action held for 1 to 10 tics: `vmc rollouts --policy random`",
    "held 1 to 10 tics, skill 5": "the same, skill 5",
    "the original's recorder": "the original's recorder",
    "independent buttons": "left and right pressed independently",
    "stay": "never moves",
}


def doom_calibration_table() -> str:
    """Random policies on take cover, against the paper's."""
    rows = [
        "| random policy | tics survived | 95% of the mean | standard errors from the paper |",
        "|---|---|---|---|",
    ]
    for row in _load("doom-calibration.json")["rows"]:
        low, high = row["ci95"]
        rows.append(
            f"| {_CALIBRATED[row['name']]} | {row['mean']:.1f} ± {row['std']:.1f} | {low:.0f} to {high:.0f} "
            f"| {row['standard_errors_from_paper']:+.1f} |"
        )
    return "\n".join(rows)


def bench_gpu_table() -> str:
    """The dream, and the training of V and M, on a GPU."""
    rows = ["| | rate | of the GEMM rate |", "|---|---|---|"]
    shown = (("dream", "64 x 16 as a batch (vmc)"), ("learning", "vmc train-vae"), ("learning", "vmc train-mdrnn"))
    for file, name in shown:
        row = next(row for row in _load(f"bench-h200-{file}.json")["results"] if row["name"] == name)
        title = "dream, 64 x 16 as a batch" if file == "dream" else f"`{name}`"
        rows.append(f"| {title} | {row['rate']:,.0f} {row['unit']}/s | {100 * row['floor_share']:.2g}% |")
    machine = _load("bench-h200-dream.json")["machine"]
    return "\n".join([*rows, "", f"{machine['device']}, {machine['cores']} cores beside it."])


def before_after_table() -> str:
    """One test with the fast and with the official CarRacing."""
    test = _load("before-after.json")["test"]
    rows = ["| `vmc test --episodes 24` | seconds | mean return |", "|---|---|---|"]
    for name, title in (("fast", "fast CarRacing"), ("official", "`--official-env`")):
        rows.append(f"| {title} | {test[name]['seconds']:.1f} | {test[name]['mean']:.1f} |")
    return "\n".join(rows)


def costs_table() -> str:
    """What a run of each recipe for CarRacing has cost."""
    rows = ["| | mean ± std | episodes | hours | real frames |", "|---|---|---|---|---|"]
    for path in recipe_files().values():
        recipe = load_recipe(path)
        if recipe.env != CARRACING or recipe.measured is None:
            continue
        measured = recipe.measured
        assert measured.real_frames is not None
        frames = f"{measured.real_frames / 1e6:.2f} million"
        name = f"`vmc run --preset {preset_of(recipe)}`"
        rows.append(f"| {name} | {measured.score} | {measured.episodes} | {measured.hours} | {frames} |")
    return "\n".join(rows)


def soak_table() -> str:
    """The comparison of the fast CarRacing with the official one."""
    soak = _load("carracing-soak.json")
    return "\n".join(
        [
            "| situations | frames | frames that differ |",
            "|---|---|---|",
            f"| {len(soak['by_situation'])} | {soak['frames']:,} | {len(soak['mismatches'])} |",
        ]
    )


def generic_dynamics_table() -> str:
    """What a kind of M costs without a step of its own: the best of the runs."""
    heads = ("kind", "dream steps/s, by hand", "generic", "M's step in the loop, by hand", "generic")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    runs = _load("generic-dynamics.json")["runs"]
    for kind in ("gru", "mlp", "neural-ode"):
        (hand_rate, hand_step), (rate, step) = (
            (max(run[way][kind][0] for run in runs), min(run[way][kind][1] for run in runs))
            for way in ("by_hand", "generic")
        )
        figures = (f"{1000 * round(each / 1000):,}" for each in (hand_rate, rate))
        steps = (f"{each:.0f} us" for each in (hand_step, step))
        rows.append(f"| {' | '.join((kind, *figures, *steps))} |")
    return "\n".join(rows)


def contracts_table() -> str:
    """Rates before and after the contracts of V, M and C."""
    rows = ["| | | after / before |", "|---|---|---|"]
    group = None
    for row in _load("contracts-before-after.json")["rows"]:
        rows.append(f"| {'' if row['group'] == group else row['group']} | {row['name']} | {row['ratio']:.2f} |")
        group = row["group"]
    return "\n".join(rows)


def play_table() -> str:
    """What `vmc play` reaches in a browser."""
    heads = ("", "own steps/s", "steps/s", "frames drawn/s", "key to frame, median", "90%")
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in _load("play.json")["rows"]:
        place = f"`{row['run']}`, {row['world']}"
        rates = (f"{row[name]:.0f}" for name in ("own_steps_per_second", "steps_per_second", "frames_per_second"))
        times = (f"{row[name]:.0f} ms" for name in ("key_to_frame_ms", "key_to_frame_ms_90"))
        rows.append(f"| {' | '.join((place, *rates, *times))} |")
    return "\n".join(rows)


def cluster_table() -> str:
    """Ray against local processes, a job's cost, and what follows for many workers."""
    content = _load("cluster.json")
    job, many = content["job"], content["projection"]
    rows = ["| two workers, episodes/s | local processes | Ray | Ray / local, median of pairs |", "|---|---|---|---|"]
    for pair in content["pairs"]:
        rows.append(
            f"| {pair['what']} | {pair['processes_rate']:.2f} | {pair['ray_rate']:.2f} | **{pair['ratio']:.2f}** |"
        )
    rows += ["", "| a job that does nothing | |", "|---|---|"]
    rows += [
        f"| driver's loop, two workers | {job['driver_loop_ms']:.2f} ms |",
        f"| driver's process with Ray's threads | {job['driver_process_ms']:.2f} ms |",
        f"| bytes of a job and of its result | {job['bytes_to_worker']:,} and {job['bytes_from_worker']:,} |",
        f"| bytes of an episode of `rollouts`, 500 steps | {content['bytes_of_an_episode']:,.0f} |",
        f"| driver's loop, 1,000 workers | {EPISODE_MS / many['workers_one_driver_feeds']:.2f} ms |",
        f"| so workers of 0.5 s an episode that keep one driver busy | **{many['workers_one_driver_feeds']:,}** |",
        f"| jobs sent to 1,000 workers | {many['megabytes_per_second_at_1000']:.0f} MB/s |",
    ]
    heads = ("simulated workers", "jobs/s", "asked for", "workers busy", "driver's loop, of a core")
    rows += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for found in content["simulation"]:
        asked = found["workers"] / found["seconds_a_job"]
        rows.append(
            f"| {found['workers']:,}, {found['seconds_a_job']:g} s a job | {found['jobs_per_second']:,.0f} "
            f"| {asked:,.0f} | {found['busy']:.0%} | {found['driver_loop_share']:.0%} |"
        )
    return "\n".join(rows)


def campaign_table() -> str:
    """What the campaign of faults has counted."""
    counted = _load("campaign.json")
    rows = ["| fault | cases | as if nothing had been | one message | other |", "|---|---|---|---|---|"]
    for name, verdicts in counted["verdicts"].items():
        if not verdicts:
            continue
        whole = sum(verdicts.pop(name, 0) for name in ("same", "runs", "flat"))
        told, other = verdicts.pop("told", 0), sum(verdicts.values())
        rows.append(f"| {counted['what'][name]} | {whole + told + other} | {whole} | {told} | {other} |")
    return "\n".join(rows)


TABLES: dict[str, Callable[[], str]] = {
    "campaign": campaign_table,
    "cluster": cluster_table,
    "contracts": contracts_table,
    "play": play_table,
    "summary": summary_table,
    "scores": scores_table,
    "retest": retest_table,
    "ablation": ablation_table,
    "temperatures": temperatures_table,
    "take-cover": take_cover_table,
    "bench": bench_table,
    "environments": environments_table,
    "dynamics": dynamics_table,
    "take-cover-score": take_cover_score_table,
    "doom-calibration": doom_calibration_table,
    "bench-gpu": bench_gpu_table,
    "before-after": before_after_table,
    "costs": costs_table,
    "soak": soak_table,
    "generic-dynamics": generic_dynamics_table,
}
_TABLE = re.compile(r"<!-- table: ([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


def documents() -> list[Path]:
    """The documents that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def filled(text: str) -> str:
    """A document with every `<!-- table: NAME -->` block filled."""
    return _TABLE.sub(lambda found: f"<!-- table: {found[1]} -->\n\n{TABLES[found[1]]()}\n\n<!-- end -->", text)


def command_line_page() -> str:
    """The page of the command line: each command's own `--help`."""
    lines = [
        "# Command line",
        "",
        "This page is what `vmc COMMAND --help` prints. `python benchmarks/readme_tables.py` writes it.",
        "",
    ]
    for path, command, context in _commands("vmc", vmc_command, None):
        lines += [f"## {path}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(line.rstrip() for line in "\n".join(lines).split("\n"))


def _commands(
    name: str, command: click.Command, parent: click.Context | None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    settings = {**command.context_settings, "terminal_width": 84}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from _commands(child, command.commands[child], context)


def _load(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


if __name__ == "__main__":
    COMMAND_LINE.write_text(command_line_page(), encoding="utf-8")
    for document in documents():
        document.write_text(filled(document.read_text(encoding="utf-8")), encoding="utf-8")
    searches = {row.title: RESULTS / "ablation" / name for name, row in ROWS.items()}
    plot_searches(searches, RESULTS / "ablation" / "searches.png")
    plot_faithfulness(_load("dream/faithfulness.json"), RESULTS / "dream" / "faithfulness.png")
