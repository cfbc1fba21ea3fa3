"""The model card of an exported agent: its parts, its score, and the stages that trained it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vmc.report.tables import duration
from vmc.storage.files import replacing


def write_card(path: Path, name: str, test: Mapping[str, Any], models: Sequence[str], records: Sequence[Any]) -> None:
    """Writes the card as Markdown.

    Args:
        name: the agent's name.
        test: the score of the exported copy, in the format of `test.json`.
        models: a line for each of V, M and C.
        records: the stage records of `run.json`; empty if the stages were run one by one.
    """
    env, (low, high) = test["env"], test["ci95"]
    lines = [
        f"# {name}: a World Model for {env}",
        "",
        f"**{test['mean']:.0f} ± {test['std']:.0f}** over {len(test['episodes'])} episodes "
        "that were not used in training "
        f"(95% interval of the mean {low:.0f} to {high:.0f}, min {test['min']:.0f}, max {test['max']:.0f}). "
        "The score is that of this float16 copy. `test.json` has every episode.",
        "",
        "```console",
        f"$ vmc test --env {env} --run {path.parent.as_posix()}",
        f"$ vmc test --env {env} --run {path.parent.as_posix()} --video drive.mp4",
        "```",
        "",
        "V and M are float16. The agent can act, dream and be tested; V and M cannot be trained further.",
        "",
        *(f"- {model}" for model in models),
        "",
        "## How it was made",
        "",
        *_recipe(records, test),
        "",
        "Versions: " + ", ".join(f"{package} {version}" for package, version in test["versions"].items()) + ".",
    ]
    with replacing(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _recipe(records: Sequence[Any], test: Mapping[str, Any]) -> list[str]:
    if not records:
        return ["The stages were run one by one; there is no record of a `vmc run`."]
    rounds = 1 + max(record["round"] for record in records)
    total = sum(record["seconds"] for record in records)
    rows = [
        f"| {record['round'] + 1} | {record['stage']} | {duration(record['seconds'])} | "
        + ", ".join(f"{name} {value:,.5g}" for name, value in record["metrics"].items())
        + " |"
        for record in records
    ]
    return [
        f"`vmc run --env {test['env']} --seed {records[0]['settings']['seed']} --rounds {rounds}`, {duration(total)}:",
        "",
        "| round | stage | time | metrics |",
        "|---|---|---|---|",
        *rows,
    ]
