"""A recipe: the rounds of a run, their stages and options, in the order in which they happen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vmc.config import did_you_mean, option
from vmc.errors import VmcError
from vmc.executors import ExecutorSettings
from vmc.recipes.schema import check_options

Options = Mapping[str, Any]
# The options of each stage, by stage, in the order in which the stages run.
Round = Mapping[str, Options]


@dataclass(frozen=True)
class Measured:
    """The measured result of a recipe.

    Attributes:
        score: mean and standard deviation of the test's returns.
        episodes: of the test.
        hours: of all stages.
        real_frames: of the real environment: data, search and validation.
        file: the JSON file in this repository that holds the score.
    """

    score: str
    episodes: int = option(least=1)
    hours: float | None = option(None, least=0)
    real_frames: int | None = option(None, least=0)
    file: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A recipe: the rounds that train on an environment, or on any.

    Attributes:
        name: its file's, without the ending.
        rounds: of a run, in order. `episodes` of a stage `rollouts` are those that it adds.
        description: one sentence.
        env: the environment's name; None: the recipe is for any.
        seed: of every stage that has no seed of its own.
        measured: what a run of it reached, where there was one.
        workers: where its jobs run.
    """

    name: str
    rounds: tuple[Round, ...]
    description: str = ""
    env: str | None = None
    seed: int = 0
    measured: Measured | None = None
    workers: ExecutorSettings = field(default_factory=ExecutorSettings)

    def adapted(
        self, env: str | None = None, seed: int | None = None, overrides: Mapping[str, Options] | None = None
    ) -> Recipe:
        """This recipe for another environment, with another seed, or with other options.

        Args:
            seed: of every stage, also of those that had their own.
            overrides: options by stage; they hold in every round that has the stage. None takes the default.

        Raises:
            VmcError: an override of a stage that no round has, or one that the stage does not take.
        """
        overrides = overrides or {}
        for stage, options in overrides.items():
            if not any(stage in stages for stages in self.rounds):
                raise VmcError(f"The recipe {self.name} has no stage {stage!r}.", did_you_mean(stage, self.stages()))
            check_options(stage, {**self.options(stage), **options})
        rounds = self.rounds if seed is None else tuple(_without_seeds(stages) for stages in self.rounds)
        rounds = tuple(_overridden(stages, overrides) for stages in rounds)
        return replace(self, rounds=rounds, env=env or self.env, seed=self.seed if seed is None else seed)

    def stages(self) -> list[str]:
        """The names of its stages."""
        return list(dict.fromkeys(stage for stages in self.rounds for stage in stages))

    def options(self, stage: str) -> Options:
        """A stage's options in the first round that has it; none where no round has it."""
        return next((stages[stage] for stages in self.rounds if stage in stages), {})


def _overridden(stages: Round, overrides: Mapping[str, Options]) -> Round:
    merged = {stage: {**options, **overrides.get(stage, {})} for stage, options in stages.items()}
    return {stage: {k: v for k, v in options.items() if v is not None} for stage, options in merged.items()}


def _without_seeds(stages: Round) -> Round:
    return {stage: {k: v for k, v in options.items() if k != "seed"} for stage, options in stages.items()}
