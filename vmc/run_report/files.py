"""What a report is made from: the files of a run."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmc.envs import get_task
from vmc.errors import VmcError
from vmc.report.blocks import Number
from vmc.report.costs import Costs, read_costs
from vmc.report.scores import Published
from vmc.report.search import Search
from vmc.run_report.origin import Origin, read_origin
from vmc.runs import RECIPE, TEST, env_of, require_run
from vmc.stages.provenance import Model, read_models
from vmc.stages.results import CONTROLLER, read_result
from vmc.storage.files import readable


@dataclass(frozen=True)
class RunFiles:
    """A run, read once.

    Attributes:
        test: what `test.json` holds; None where the run was not tested.
        origin: its recipe; None where nothing tells it.
        paper: the paper's score in this environment, if there is one.
    """

    path: Path
    env: str | None
    test: Mapping[str, Any] | None
    search: Search
    costs: Costs
    models: Mapping[str, Model]
    origin: Origin | None
    paper: Published | None

    @classmethod
    def read(cls, run: Path) -> RunFiles:
        """Reads all of it but the pictures.

        Raises:
            VmcError: the folder holds no run, or one of its files is damaged.
        """
        require_run(run)
        env, search = env_of(run), Search.read(run)
        with readable(run / "controller" / "metrics.jsonl", "Move it away: only the curves before are lost."):
            _ = search.validations("real"), search.kept()
        with readable(run / "run.json", "Move it away: the report is made without it."):
            costs, origin = read_costs(run, search), read_origin(run, env, search.records)
        if env is None and origin is not None:
            env = origin.recipe.env
        return cls(run, env, read_result(run / TEST), search, costs, read_models(run), origin, published(env))

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def shell_path(self) -> str:
        """The folder, as a command takes it."""
        return shlex.quote(str(self.path))

    @property
    def policy(self) -> str:
        """Who acted in the test."""
        return CONTROLLER if self.test is None else str(self.test["config"].get("policy", CONTROLLER))

    @property
    def has_recipe(self) -> bool:
        """Whether the folder keeps a `recipe.toml`."""
        return self.origin is not None and self.origin.file == RECIPE

    @property
    def returns(self) -> list[float]:
        """Those of all test episodes."""
        return [] if self.test is None else [episode["episode_return"] for episode in self.test["episodes"]]

    @property
    def test_seed(self) -> int:
        """The seed of the test episodes; 0 without a test."""
        return 0 if self.test is None else int(self.test["config"]["seed"])


def published(env: str | None) -> Published | None:
    """The paper's score in an environment."""
    with suppress(VmcError):  # a module that is not here
        return Published.read(get_task(env).published.get("full", "")) if env else None
    return None


def rounded(value: float, digits: int = 1) -> Number:
    """A number with so many digits after the point, and as it is."""
    return Number(value, f"{value:,.{digits}f}")


def told(error: VmcError) -> str:
    """An error as a text of a page."""
    return " ".join(str(error).split())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
