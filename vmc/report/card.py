"""The model card of an agent that is given away: what it is, what it scores, how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vmc.report.tables import duration
from vmc.storage.files import replacing


def write_card(path: Path, name: str, test: Mapping[str, Any], models: Sequence[str], records: Sequence[Any]) -> None:
    """Writes the card as Markdown.

    Args:
        name: the agent's.
        test: the score of the copy, as `test.json` holds it.
        models: a line for each of V, M and C.
        records: those of `run.json`, stage by stage; none where the stages were run one by one.
    """
    env, (low, high) = test["env"], test["ci95"]
    lines = [
        f"# {name}: a World Model for {env}",
        "",
        f"**{test['mean']:.0f} ± {test['std']:.0f}** over {len(test['episodes'])} episodes that no training has met "
        f"(95% interval of the mean {low:.0f} to {high:.0f}, min {test['min']:.0f}, max {test['max']:.0f}). "
        "This copy was tested, not the wider original. `test.json` has every episode.",
        "",
        "```console",
        f"$ vmc test --env {env} --run {path.parent.as_posix()}",
        f"$ vmc test --env {env} --run {path.parent.as_posix()} --video drive.mp4",
        "```",
        "",
        "Safetensors in float16. It drives, dreams and can be tested; V and M cannot be trained further.",
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
        return ["Stage by stage; there is no record of a `vmc run`."]
    rounds = 1 + max(record["round"] for record in records)
    total = sum(record["seconds"] for record in records)
    rows = [
        f"| {record['round'] + 1} | {record['stage']} | {duration(record['seconds'])} | "
        + ", ".join(f"{name} {value:,.5g}" for name, value in record["figures"].items())
        + " |"
        for record in records
    ]
    return [
        f"`vmc run --env {test['env']} --seed {records[0]['settings']['seed']} --rounds {rounds}`, {duration(total)}:",
        "",
        "| round | stage | time | figures |",
        "|---|---|---|---|",
        *rows,
    ]
