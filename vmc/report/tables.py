"""The table at the end of `vmc run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_records(records: Sequence[Any]) -> None:
    """Prints each stage's time and metrics to stdout, and below them the score of the last test, if there was one.

    Args:
        records: `StageRecord`s in order.
    """
    table = Table("stage", "time", "metrics")
    rounds = {record.round for record in records}
    for record in records:
        stage = f"{record.stage} (round {record.round + 1})" if len(rounds) > 1 else record.stage
        metrics = "  ".join(f"{name} {value:,.5g}" for name, value in record.metrics.items())
        table.add_row(stage, duration(record.seconds), metrics)
    table.add_section()
    table.add_row("all", duration(sum(record.seconds for record in records)), "")
    console = _wide_console()
    console.print(table)
    for record in [record for record in records if record.stage == "test"][-1:]:
        score, settings = record.metrics, record.settings
        console.print(
            f"{settings['env']}: mean return {score['mean']:.1f} ± {score['std']:.1f} "
            f"over {settings['episodes']} unseen episodes",
            highlight=False,
        )


def print_recipes(recipes: Sequence[Any]) -> None:
    """Prints each `Recipe`: its environment, what it does, and what a run of it reached; those for any come first."""
    console = _wide_console()
    for recipe in sorted(recipes, key=lambda recipe: (recipe.env is not None, recipe.name)):
        lines = [f"{recipe.name}: {recipe.env or 'any environment'}", f"  {recipe.description}"]
        lines += [f"  measured: {_measured(recipe.measured)}"] if recipe.measured else []
        console.print("\n".join(lines), highlight=False, markup=False)


def print_runs(runs: Sequence[Any]) -> None:
    """Prints a row for each `RunSummary`: its folder, environment, score, and the models that it holds."""
    table = Table("run", "environment", "score", "holds")
    for run in runs:
        score = "" if run.score is None else f"{run.score}"
        if run.score is not None and run.score.policy != "controller":
            score += f" ({run.score.policy} policy)"
        table.add_row(str(run.path), run.env or "", score, ", ".join(run.models) or "no weights")
    _wide_console().print(table)


def print_environments(environments: Sequence[Any]) -> None:
    """Prints a row for each `KnownEnvironment`: its presets with their scores, and the paper's score."""
    table = Table("environment", "recipes (--preset)", "paper")
    for each in environments:
        presets = (f"{preset} ({score})" if score else preset for preset, score in each.presets.items())
        table.add_row(each.name, ", ".join(presets), each.published)
    _wide_console().print(table)


def print_seeds(pooled: Mapping[str, Any]) -> None:
    """Prints the scores of several seeds, as `<run>-seeds.json` has them."""
    table = Table("seed", "mean ± std", "95% of the mean", "episodes", "run")
    for row in pooled["seeds"]:
        table.add_row(str(row["seed"]), *_score_cells(row), str(row["episodes"]), row["run"])
    table.add_section()
    everything = pooled["pooled"]
    table.add_row("pooled", *_score_cells(everything), str(everything["episodes"]), "")
    console = _wide_console()
    console.print(table)
    over = f"{pooled['env']}: mean over {len(pooled['seeds'])} seeds {pooled['mean']:.1f}"
    if pooled["ci95"] is not None:
        low, high = pooled["ci95"]
        over += f" ± {pooled['std']:.1f} (95% interval {low:.1f} to {high:.1f}, Student's t)"
    console.print(over, highlight=False)


def _score_cells(row: Mapping[str, Any]) -> tuple[str, str]:
    low, high = row["ci95"]
    return f"{row['mean']:.1f} ± {row['std']:.1f}", f"{low:.1f} to {high:.1f}"


def print_section(title: str, rows: Mapping[str, str]) -> None:
    """Prints a title, and below it a line for each row, with the names in one column."""
    width = max(map(len, rows))
    lines = [title, *(f"  {name:{width}}  {value}" for name, value in rows.items())]
    _wide_console().print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)


def _measured(measured: Any) -> str:
    parts = [f"{measured.score} over {measured.episodes} episodes"]
    if measured.hours is not None:
        parts.append(duration(3600 * measured.hours))
    if measured.real_frames is not None:
        parts.append(f"{measured.real_frames:,} real frames")
    return ", ".join(parts)


def print_bench(results: Sequence[Any]) -> None:
    """Prints a row for each `Result`: rate, spread, ratio to its baseline, share of the measured floor."""
    table = Table("what", "", "rate", "lowest - highest", "ratio", "of the floor")
    group = None
    for result in results:
        if group not in (None, result.group):
            table.add_section()
        table.add_row(
            "" if result.group == group else result.group,
            result.name,
            f"{result.rate:,.0f} {result.unit}/s",
            f"{result.lowest:,.0f} - {result.highest:,.0f}",
            "1" if result.ratio is None else f"{result.ratio:.2f}",
            "" if result.floor_share is None else f"{100 * result.floor_share:.2g}% {result.floor}",
        )
        group = result.group
    _wide_console().print(table)


def print_ablation(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the rows of the paper's table, as `ablation.json` has them."""
    table = Table("row", "what", "mean ± std", "95% of the mean", "paper", "real frames", "time")
    for row in rows:
        low, high = row["ci95"]
        score, interval = f"{row['mean']:.0f} ± {row['std']:.0f}", f"{low:.0f} to {high:.0f}"
        cost = f"{row['real_frames']:,}", duration(3600 * row["hours"])
        table.add_row(row["row"], row["title"], score, interval, row["paper"], *cost)
    _wide_console().print(table)


def print_estimate(estimate: Any) -> None:
    """Prints an `Estimate`: a row for each stage, summed over its rounds, and the totals."""
    table = Table("stage", "rounds", "work", "time")
    for stage in dict.fromkeys(cost.stage for cost in estimate.costs):
        costs = [cost for cost in estimate.costs if cost.stage == stage]
        work = {unit: sum(cost.work for cost in costs if cost.unit == unit) for unit in (c.unit for c in costs)}
        worked = ", ".join(f"{amount:,.0f} {unit}" for unit, amount in work.items())
        table.add_row(stage, str(len(costs)), worked, duration(sum(cost.seconds for cost in costs)))
    console = _wide_console()
    console.print(table)
    seconds = sum(cost.seconds for cost in estimate.costs)
    console.print(
        f"At most {duration(seconds)}, {estimate.real_frames:,.0f} real frames, {_size(estimate.disk)} of disk, "
        f"{_size(estimate.memory)} of memory for data."
    )


def _size(count: float) -> str:
    """Bytes as GiB, small ones as MiB."""
    gib = count / 2**30
    return f"{gib:.1f} GiB" if gib >= 0.1 else f"{1024 * gib:.1f} MiB"


def print_temperatures(results: Sequence[Any]) -> None:
    """Prints the paper's table: the return in the dream at each temperature, and in the real environment."""
    table = Table("temperature", "mean return", "std", "95% of the mean")
    for result in results:
        low, high = result["ci95"]
        where = "reality" if result["temperature"] is None else f"{result['temperature']:g}"
        table.add_row(where, f"{result['mean']:.1f}", f"{result['std']:.1f}", f"{low:.1f} to {high:.1f}")
    _wide_console().print(table)


def _wide_console() -> Console:
    """Redirected output is not cut to a terminal's width."""
    console = Console()
    console.width = max(console.width, 120)
    return console


def duration(seconds: float) -> str:
    """`75` to `1 min 15 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
