"""The command line: one thin command a stage. Options become settings, settings go to a stage."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from vmc.config import did_you_mean, make_settings
from vmc.errors import VmcError
from vmc.executors import available_cores
from vmc.options import GroupedCommand, comma_floats, folder_name, settings_options, shared
from vmc.recipes import Recipe, first_settings, load_recipe, recipe_files
from vmc.stages.settings import (
    STAGES,
    CollectSettings,
    EvaluateSettings,
    FaithfulnessSettings,
    TrainControllerSettings,
    TrainMDRNNSettings,
    TrainVAESettings,
)

BENCHES = ("environment", "policy", "step", "workers", "collection", "loading", "vae", "mdrnn", "dream")
_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_TENSORBOARD = click.option("--tensorboard", is_flag=True, help="Also write TensorBoard events (extra).")


# Read by OpenMP when torch is first imported. Spinning threads halve the speed of a machine that has other work to do
# (measured in docs/experiments/threads.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class _Group(click.Group):
    """Ends a `VmcError` with status 1 and an interrupt with status 130, both without a traceback."""

    command_class = GroupedCommand

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except VmcError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("Interrupted. Run the same command again to go on from the last checkpoint.", err=True)
            sys.exit(130)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="vmc")
def main() -> None:
    """World Models (Ha & Schmidhuber, 2018): rollouts, V, M, C, the dream, and a score.

    Each stage is a command that resumes where it stopped; `vmc run` chains them.
    """


@main.command()
@shared(device=False)
@settings_options(CollectSettings)
def rollouts(recipe: Recipe, data: Path, run: Path, workers: int, **given: Any) -> None:
    """Collect episodes from the environment into HDF5."""
    from vmc.stages.collect import collect

    settings = first_settings(recipe, "rollouts", given)
    done = collect(settings, data, run, workers)
    rate = f" ({done.added_steps / done.seconds:.0f} steps/s)" if done.added_steps else ""
    click.echo(f"{done.added_episodes} episodes added in {done.seconds:.1f} s{rate}.")
    click.echo(f"{data}: {done.num_episodes} episodes, {done.num_frames} frames, mean return {done.mean_return:.1f}.")


@main.command()
@shared(workers=False, steps_env=False)
@settings_options(TrainVAESettings)
@_TENSORBOARD
def train_vae(recipe: Recipe, data: Path, run: Path, device: str, tensorboard: bool, **given: Any) -> None:
    """Train V on the episodes' frames: a ConvVAE, or for vectors the identity or a dense VAE."""
    from vmc.stages import train_vae as stage

    settings = first_settings(recipe, "train-vae", given)
    counters = stage.train_vae(settings, data, run, device, tensorboard)
    best = counters.best
    click.echo(f"V: best of epoch {counters.best_epoch} of {counters.epoch}, {counters.seconds:.0f} s.")
    click.echo(f"validation: reconstruction error {best['reconstruction']:.3g} a frame, KL {best['kl']:.1f} nats.")
    for path in sorted((run / "vae").glob("reconstructions.*")):
        click.echo(f"{path}")


@main.command()
@shared(workers=False, steps_env=False)
@settings_options(TrainMDRNNSettings)
@_TENSORBOARD
def train_mdrnn(recipe: Recipe, data: Path, run: Path, device: str, tensorboard: bool, **given: Any) -> None:
    """Encode the frames with V, and train M, the MDN-RNN, on the latents."""
    from vmc.stages import train_mdrnn as stage

    settings = first_settings(recipe, "train-mdrnn", given)
    counters, report = stage.train_mdrnn(settings, data, run, device, tensorboard)
    click.echo(f"M: best of epoch {counters.best_epoch} of {counters.epoch}, {counters.seconds:.0f} s. Validation:")
    for name, value in report.items():
        click.echo(f"  {name:30} {value:.4g}")


@main.command()
@shared()
@settings_options(TrainControllerSettings)
@_TENSORBOARD
def train_controller(
    recipe: Recipe, data: Path, run: Path, device: str, workers: int, tensorboard: bool, **given: Any
) -> None:
    """Evolve C with CMA-ES, in the environment or in the dream."""
    from vmc.stages import train_controller as stage

    settings = first_settings(recipe, "train-controller", given)
    if settings.dream:
        _tell_starts(data, run)
    counters = stage.train_controller(settings, data, run, device, workers, tensorboard)
    where = "the dream" if settings.validate_in == "dream" else "the real environment"
    click.echo(
        f"C: mean return {counters.best_return:.1f} on {settings.validation_episodes} validation episodes in {where}, "
        f"best of generation {counters.best_generation} of {counters.generation}."
    )
    steps = ", ".join(f"{number} {place}" for place, number in counters.num_steps.items())
    click.echo(f"environment steps: {steps}; {counters.seconds:.0f} s.")


@main.command()
@shared()
@settings_options(EvaluateSettings, without=["temperature"])
@click.option(
    "--temperature",
    "temperatures",
    callback=comma_floats,
    help="Of the dream. With several: a table of the returns at each, and in the real environment.  [default: C's own]",
)
@click.option("--json", "path", type=_FILE, help="Write the result there, and leave the run's own test.json alone.")
@click.option("--video", type=_FILE, help="Also film an episode: real, reconstructed, dreamed (.mp4 or .gif).")
def test(
    recipe: Recipe,
    data: Path,
    run: Path,
    device: str,
    workers: int,
    path: Path | None,
    video: Path | None,
    temperatures: list[float] | None,
    **given: Any,
) -> None:
    """Score C on episodes that nothing was trained on."""
    from vmc.report.tables import print_temperatures
    from vmc.stages.evaluate import evaluate_controller, evaluate_temperatures

    settings = first_settings(recipe, "test", {**given, "temperature": temperatures[0] if temperatures else None})
    if video is not None:
        from vmc.stages.film import film_episode

        film_episode(settings.env, run, video, settings.max_steps, settings.seed)
        click.echo(f"{video}")
    several = temperatures if temperatures and len(temperatures) > 1 else []
    if settings.dream or several:
        _tell_starts(data, run)
    if temperatures is not None and several:
        if path is not None:
            raise click.UsageError("--json takes one result; a table of temperatures is in test-temperatures.json.")
        print_temperatures(evaluate_temperatures(settings, several, data, run, device, workers))
        return
    result = evaluate_controller(settings, data, run, device, workers, path)
    low, high = result["ci95"]
    where = f"the dream at temperature {result['temperature']}" if settings.dream else settings.env
    click.echo(
        f"{where}: {result['mean']:.1f} +- {result['std']:.1f} over {len(result['episodes'])} episodes "
        f"(95% interval of the mean {low:.1f} to {high:.1f}, min {result['min']:.1f}, max {result['max']:.1f})"
    )


def _tell_starts(data: Path, run: Path) -> None:
    from vmc.stages.dreaming import begins_at_kept_moments

    if begins_at_kept_moments(data, run):
        click.echo(f"{data} has no episodes: the dreams begin at the moments kept in {run}, which M was trained on.")


@main.command()
@shared()
@settings_options(FaithfulnessSettings)
def faithfulness(recipe: Recipe, data: Path, run: Path, device: str, workers: int, **given: Any) -> None:
    """Compare the dream with reality: error against horizon, calibration, controllers in both."""
    from vmc.report.faithfulness import plot_faithfulness
    from vmc.stages.faithfulness import measure_faithfulness

    settings = make_settings(FaithfulnessSettings, str(recipe.env), {"seed": recipe.seed}, given)
    report = measure_faithfulness(settings, data, run, device, workers)
    picture = run / "faithfulness.png"
    plot_faithfulness(report, picture)
    gap = report["gap"]
    for generation, dreamed, real in zip(gap["generations"], gap["dream"], gap["real"], strict=True):
        click.echo(f"generation {generation:5}: {dreamed:7.1f} in the dream, {real:7.1f} in reality")
    click.echo(f"rank correlation {gap['rank_correlation']:.2f}; {picture}")


@main.command()
@click.option("--run", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="The run.")
@click.option("--to", required=True, type=click.Path(file_okay=False, path_type=Path), help="The folder to write to.")
@click.option("--episodes", type=click.IntRange(2), default=100, show_default=True, help="The copy is tested on these.")
@click.option("--workers", type=click.IntRange(0), default=available_cores, help="Worker processes.")
def export(run: Path, to: Path, episodes: int, workers: int) -> None:
    """Write a run's best V, M and C at half the width, to give away; test the copy, and write its model card."""
    from vmc.models.checkpoints import vae_checkpoint
    from vmc.stages.evaluate import evaluate_controller
    from vmc.stages.export import describe_copy, export_run

    size = export_run(run, to)
    settings = make_settings(EvaluateSettings, vae_checkpoint(to).info["env"], {"episodes": episodes})
    score = evaluate_controller(settings, to, to, "cpu", workers)
    describe_copy(run, to, score)
    click.echo(f"{to}: {size / 1e6:.1f} MB, {score['mean']:.1f} +- {score['std']:.1f} over {episodes} episodes.")


@main.command("run")
@shared()
@click.option("--estimate", is_flag=True, help="Only say what it would cost on this machine; runs nothing.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="STAGE.OPTION=VALUE",
    help="Override a stage's option in every round, e.g. --set train-vae.epochs=3. May be given again.",
)
def run_chain(
    recipe: Recipe, data: Path, run: Path, device: str, workers: int, estimate: bool, overrides: tuple[str, ...]
) -> None:
    """Run a recipe: all its rounds, from rollouts to the score."""
    from vmc.pipeline import PipelineSettings, run_pipeline
    from vmc.report.tables import print_estimate, print_records

    recipe = recipe.adapted(overrides=_overrides(overrides))
    settings = PipelineSettings(recipe, data, run, device, workers)
    if estimate:
        from vmc.bench.estimate import estimate_run

        print_estimate(estimate_run(settings))
    else:
        print_records(run_pipeline(settings))


@main.group(invoke_without_command=True)
@click.pass_context
def recipes(context: click.Context) -> None:
    """List the recipes that `vmc run --recipe` knows: what each does, its measured score and cost."""
    from vmc.report.tables import print_recipes

    if context.invoked_subcommand is None:
        print_recipes([load_recipe(path) for path in recipe_files().values()])


@recipes.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a recipe's file, to start your own from."""
    files = recipe_files()
    if name not in files:
        raise VmcError(f"There is no recipe {name!r}.", did_you_mean(name, files))
    click.echo(files[name].read_text(encoding="utf-8"), nl=False)


@main.command()
@shared(data=False, run=False)
@click.argument("rows", nargs=-1, metavar="[ROW]...")
@click.option("--from", "source", type=_FOLDER, help="The run whose V and M are used.  [default: results/<env>]")
@click.option("--to", type=_FOLDER, help="Each row has a run below it.  [default: that run, with -ablation]")
@click.option(
    "--set", "overrides", multiple=True, metavar="OPTION=VALUE", help="Override an option of C's search, in all rows."
)
def ablate(
    recipe: Recipe,
    device: str,
    workers: int,
    rows: tuple[str, ...],
    source: Path | None,
    to: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Fill rows of the paper's table: V only, M untrained, in the dream ... Each resumes where it stopped.

    Without a ROW: all of them.
    """
    from vmc.ablation import ROWS, AblationSettings, read_rows, run_row
    from vmc.report.curves import plot_searches
    from vmc.report.tables import print_ablation

    for row in rows:
        if row not in ROWS:
            raise click.UsageError(f"no row {row!r}. {did_you_mean(row, ROWS)}")
    given = (_assignment(text, "OPTION=VALUE") for text in overrides)
    values = {name.replace("-", "_"): value for name, value in given}
    source = source or Path("results") / folder_name(recipe)
    to = to or source.with_name(f"{source.name}-ablation")
    settings = AblationSettings(recipe, source, to, device, workers, values)
    for row in rows or ROWS:
        run_row(row, settings)
    print_ablation(read_rows(to))
    click.echo(f"{plot_searches({name: to / name for name in ROWS}, to / 'searches.png')}")


@main.command()
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Interleaved rounds to measure.")
@click.option("--steps", type=click.IntRange(10), default=1000, show_default=True, help="Environment steps a round.")
@click.option("--only", multiple=True, type=click.Choice(BENCHES), help="Measure only this. May be given again.")
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="For V, M."
)
@click.option("--json", "path", type=_FILE, help="Also write the rates, with machine and versions, to this file.")
def bench(rounds: int, steps: int, only: tuple[str, ...], device: str, path: Path | None) -> None:
    """Measure speed, as ratios to named baselines in the same run."""
    from vmc.bench.suite import run_benches
    from vmc.report.tables import print_bench

    print_bench(run_benches(only or BENCHES, rounds, steps, device, path))


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
def inspect(path: Path) -> None:
    """Say what a run, a checkpoint or a data folder holds, and check its integrity."""
    from vmc.stages.inspection import inspect_path

    for line in inspect_path(path):
        click.echo(line)


@main.command()
@shared(data=False, device=False, workers=False, steps_env=False, seed=False)
def report(recipe: Recipe, run: Path) -> None:
    """Plot a run's learning curves (extra `plots`)."""
    from vmc.report.curves import plot_run

    for path in plot_run(run):
        click.echo(f"{path}")


def _overrides(texts: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """`("train-vae.epochs=3",)` to `{"train-vae": {"epochs": 3}}`; the values are JSON, or else text."""
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        name, value = _assignment(text, "STAGE.OPTION=VALUE")
        stage, dot, field = name.partition(".")
        if not dot:
            raise click.UsageError(f"--set {text}: expected STAGE.OPTION=VALUE.")
        if stage not in STAGES:
            raise click.UsageError(f"--set {text}: no stage {stage!r}. {did_you_mean(stage, STAGES)}")
        found.setdefault(stage, {})[field.replace("-", "_")] = value
    return found


def _assignment(text: str, form: str) -> tuple[str, Any]:
    """`"step-size=0.1"` to `("step-size", 0.1)`; the value is JSON, or else text."""
    import json

    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--set {text}: expected {form}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
