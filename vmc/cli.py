"""The command line: one thin command a stage. Options become settings, settings go to a stage."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vmc.config import did_you_mean, make_settings
from vmc.errors import Terminated, VmcError
from vmc.executors import Workers, available_cores
from vmc.extras import VERSION
from vmc.options import (
    GroupedCommand,
    OrderedGroup,
    RunCommand,
    comma_floats,
    comma_seeds,
    examples,
    folder_name,
    log_option,
    page_options,
    settings_for,
    settings_options,
    shared,
)
from vmc.recipes import Recipe, load_recipe, recipe_files
from vmc.runs import RESULTS, find_runs, known_environments
from vmc.stages.settings import (
    DREAM_OPTIONS,
    HUMAN,
    STAGES,
    CollectSettings,
    EvaluateSettings,
    FaithfulnessSettings,
    TrainControllerSettings,
    TrainMDRNNSettings,
    TrainVAESettings,
)

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

BENCHES = ("environment", "policy", "step", "workers", "collection", "loading", "vae", "mdrnn", "dream")
_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
# `\b` keeps click from joining lines.
_EPILOG = """\b
Begin with `vmc run --preset quick`, or with `vmc list` and `vmc test RUN`.
Completion by the tab key: put the line of your shell into its start file.
  bash: eval "$(_VMC_COMPLETE=bash_source vmc)"
  zsh:  eval "$(_VMC_COMPLETE=zsh_source vmc)"
  fish: _VMC_COMPLETE=fish_source vmc | source"""

# Read by OpenMP when torch is first imported. Spinning threads halve the speed of a machine that has other work to do
# (measured in docs/experiments/threads.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class _Group(OrderedGroup):
    """Ends a `VmcError` with status 1, Ctrl-C with 130 and SIGTERM with 143, all without a traceback."""

    command_class = GroupedCommand

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _signals_raise():
                return super().invoke(ctx)
        except VmcError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt as interrupt:
            click.echo("Interrupted. Run the same command again to go on from the last checkpoint.", err=True)
            sys.exit(128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT))


@contextmanager
def _signals_raise() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, hook = signal.signal(signal.SIGTERM, _terminate), sys.unraisablehook
    sys.unraisablehook = _raise_again
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


_AFTER_THE_DESTRUCTOR = 0.05


def _raise_again(ignored: UnraisableHookArgs) -> None:
    """Python ignores what is raised in a destructor, the exception of a signal, too; then the signal is sent again."""
    if issubclass(ignored.exc_type, KeyboardInterrupt):
        number = signal.SIGTERM if issubclass(ignored.exc_type, Terminated) else signal.SIGINT
        later = threading.Timer(_AFTER_THE_DESTRUCTOR, os.kill, (os.getpid(), number))  # here it would be ignored, too
        later.daemon = True
        later.start()
    else:
        sys.__unraisablehook__(ignored)


@click.group(
    cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=_EPILOG
)
@click.version_option(VERSION, prog_name="vmc")
def main() -> None:
    """Train and test World Models (Ha & Schmidhuber, 2018): rollouts, V, M, C, the dream, and a score.

    Each stage is a command that resumes where it stopped; `vmc run` chains them.
    """
    # For `module:Id-v0` and `module:Class`. Last, so that no file there hides an installed module.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)


@main.command(
    epilog=examples("vmc rollouts --episodes 300 --max-steps 200", "vmc rollouts --policy human --episodes 10")
)
@shared(device=False)
@page_options
@settings_options(CollectSettings)
def rollouts(
    recipe: Recipe, data: Path, run: Path, workers: Workers, host: str, port: int | None, browser: bool, **given: Any
) -> None:
    """Collect episodes of the environment into HDF5 files.

    With `--policy human`, you drive them on a web page (the extra `play`).
    """
    from vmc.stages.collect import collect

    settings = settings_for(CollectSettings, recipe, given)
    if given["action_noise"] and settings.policy != "controller":
        raise click.UsageError("--action-noise is of the policy `controller`: give --policy controller, too.")
    if settings.policy == HUMAN:
        from vmc.viewer.server import collecting_site, serve

        serve(collecting_site(settings, data), host, port, browser, click.echo)
        return
    done = collect(settings, data, run, workers)
    rate = f" ({done.added_steps / done.seconds:.0f} steps/s)" if done.added_steps else ""
    if not _told_nothing_to_do(done):
        click.echo(f"{done.added_episodes} episodes added in {done.seconds:.1f} s{rate}.")
    click.echo(f"{data}: {done.num_episodes} episodes, {done.num_frames} frames, mean return {done.mean_return:.1f}.")


@main.command(epilog=examples("vmc train-vae --epochs 3", "vmc train-vae --env CartPole-v1 --vision dense"))
@shared(workers=False, steps_env=False)
@settings_options(TrainVAESettings)
@log_option
def train_vae(recipe: Recipe, data: Path, run: Path, device: str, loggers: tuple[str, ...], **given: Any) -> None:
    """Train V, a ConvVAE, on the frames of the episodes.

    For an environment that shows vectors, V is the identity or a dense VAE.
    """
    from vmc.stages import train_vae as stage

    settings = settings_for(TrainVAESettings, recipe, given)
    counters = stage.train_vae(settings, data, run, device, loggers)
    _told_nothing_to_do(counters)
    best = counters.best
    click.echo(f"V: best of epoch {counters.best_epoch} of {counters.epoch}, {counters.seconds:.0f} s.")
    click.echo(f"validation: reconstruction error {best['reconstruction']:.3g} a frame, KL {best['kl']:.1f} nats.")
    for path in sorted((run / "vae").glob("reconstructions.*")):
        click.echo(f"{path}")


@main.command(epilog=examples("vmc train-mdrnn --epochs 20", "vmc train-mdrnn --dynamics gru --run results/with-gru"))
@shared(workers=False, steps_env=False)
@settings_options(TrainMDRNNSettings)
@log_option
def train_mdrnn(recipe: Recipe, data: Path, run: Path, device: str, loggers: tuple[str, ...], **given: Any) -> None:
    """Train M, the MDN-RNN, on the frames as V encodes them."""
    from vmc.stages import train_mdrnn as stage

    settings = settings_for(TrainMDRNNSettings, recipe, given)
    counters, report = stage.train_mdrnn(settings, data, run, device, loggers)
    _told_nothing_to_do(counters)
    click.echo(f"M: best of epoch {counters.best_epoch} of {counters.epoch}, {counters.seconds:.0f} s. Validation:")
    for name, value in report.items():
        click.echo(f"  {name:30} {value:.4g}")


@main.command(
    epilog=examples(
        "vmc train-controller --dream --temperature 1.5", "vmc train-controller --generations 40 --workers 8"
    )
)
@shared()
@settings_options(TrainControllerSettings)
@log_option
def train_controller(
    recipe: Recipe, data: Path, run: Path, device: str, workers: Workers, loggers: tuple[str, ...], **given: Any
) -> None:
    """Find C with CMA-ES or PPO, in reality or in the dream."""
    from vmc.stages import train_controller as stage

    settings = settings_for(TrainControllerSettings, recipe, given)
    _refuse_unused(settings, given, device)
    if settings.dream:
        _tell_starts(data, run)
    counters = stage.train_controller(settings, data, run, device, workers, loggers)
    _told_nothing_to_do(counters)
    where = "the dream" if settings.validate_in == "dream" else "the real environment"
    click.echo(
        f"C: mean return {counters.best_return:.1f} on {settings.validation_episodes} validation episodes in {where}, "
        f"best of generation {counters.best_generation} of {counters.generation}."
    )
    steps = ", ".join(f"{number} {place}" for place, number in counters.num_steps.items())
    click.echo(f"environment steps: {steps}; {counters.seconds:.0f} s.")


@main.command(
    epilog=examples("vmc test results/carracing", "vmc test results/carracing --dream --temperature 0.5,1,1.5")
)
@shared(run_argument=True, reads_run=True)
@settings_options(EvaluateSettings, without=["temperature"])
@click.option(
    "--temperature",
    callback=comma_floats,
    help="Dream at this temperature. With several, print a table of the returns at each, and in the real environment.  "
    "[default: that which C was evolved at]",
)
@click.option("--json", "path", type=_FILE, help="Write the result to this file, and leave the run's own as it is.")
@click.option("--video", type=_FILE, help="Also film the first episode, and its dream, to this .mp4 or .gif.")
def test(
    recipe: Recipe,
    data: Path,
    run: Path,
    device: str,
    workers: Workers,
    path: Path | None,
    video: Path | None,
    temperature: list[float] | None,
    **given: Any,
) -> None:
    """Score C on episodes that nothing was trained on."""
    from vmc.report.tables import print_temperatures
    from vmc.runs import require_agent
    from vmc.stages.evaluate import evaluate_and_keep, evaluate_temperatures

    given["temperature"] = temperature[0] if temperature else None
    settings = settings_for(EvaluateSettings, recipe, given)
    if not (temperature and len(temperature) > 1):  # a table of temperatures is of both worlds
        _refuse_unused(settings, given if video is None else {**given, "max_steps": None}, device)
    if settings.policy == "controller":
        require_agent(run)
    if video is not None:
        from vmc.stages.film import film_episode

        steps = film_episode(settings.env, run, video, settings.max_steps, settings.seed)
        click.echo(f"{video}: the first test episode, {steps} steps.")
    several = temperature if temperature and len(temperature) > 1 else []
    if settings.dream or several:
        _tell_starts(data, run)
    if several:
        if path is not None:
            raise click.UsageError("--json takes one result; a table of temperatures is in test-temperatures.json.")
        results, kept = evaluate_temperatures(settings, several, data, run, device, workers)
        print_temperatures(results)
        click.echo(kept.note or f"{kept.path}")
        return
    result, kept = evaluate_and_keep(settings, data, run, device, workers, path)
    if kept.note:
        click.echo(kept.note)
    low, high = result["ci95"]
    where = f"the dream at temperature {result['temperature']}" if settings.dream else settings.env
    click.echo(
        f"{where}: {result['mean']:.1f} ± {result['std']:.1f} over {len(result['episodes'])} episodes "
        f"(95% interval of the mean {low:.1f} to {high:.1f}, min {result['min']:.1f}, max {result['max']:.1f})"
    )
    if (result["seed_uses"] or 0) > 1:
        click.echo(
            f"{result['seed_uses']} controllers of this run have met test seed {settings.seed} by now. "
            "If you choose among them by this score, report that of another --seed."
        )


@main.command(epilog=examples("vmc play", "vmc play results/carracing --port 8080"))
@click.argument("run_path", required=False, type=_FOLDER, metavar="[RUN]")
@click.option("--run", type=_FOLDER, help="Play this run, as the argument RUN does.  [default: choose on the page]")
@click.option("--data", type=_FOLDER, help="Save episodes in this folder.  [default: data/<env>-human]")
@page_options
def play(
    run_path: Path | None, run: Path | None, data: Path | None, host: str, port: int | None, browser: bool
) -> None:
    """Drive an agent's environment, and its dream, on a web page.

    Without a RUN, the page offers those in results/ that have V and M. Arrow keys drive, z falls asleep and wakes up,
    space pauses; the page shows the others. This needs the extra `play`.
    """
    from vmc.viewer.server import play_site, serve

    if run_path and run not in (None, run_path):
        raise click.UsageError(f"The argument names the run {run_path}, and --run names {run}.")
    serve(play_site(run_path or run, data), host, port, browser, click.echo)


@main.command(
    "run",
    cls=RunCommand,
    epilog=examples("vmc run --preset smoke", "vmc run --env CartPole-v1 --set train-controller.generations=10"),
)
@shared()
@log_option
@click.option(
    "--seeds", callback=comma_seeds, help="Run once for each of these seeds, e.g. 0,1,2, and pool the scores."
)
@click.option("--dry-run", is_flag=True, help="Only print the recipe with every option of every round; runs nothing.")
@click.option("--estimate", is_flag=True, help="Only measure this machine, and say what the run would cost on it.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="STAGE.OPTION=VALUE",
    help="Override a stage's option in every round, e.g. --set train-vae.epochs=3. May be given again.",
)
def run_chain(
    recipe: Recipe,
    data: Path,
    run: Path,
    device: str,
    workers: Workers,
    loggers: tuple[str, ...],
    seeds: list[int],
    dry_run: bool,
    estimate: bool,
    overrides: tuple[str, ...],
) -> None:
    """Run a recipe: all its rounds, from rollouts to the score."""
    from vmc.pipeline import PipelineSettings, describe_run, run_pipeline
    from vmc.report.tables import print_estimate, print_records, print_seeds
    from vmc.runs import ending
    from vmc.seeds import pooled_paths, run_seeds

    if seeds and click.get_current_context().get_parameter_source("seed") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--seed names one seed and --seeds several; give one of them.")
    recipe = recipe.adapted(overrides=_overrides(overrides))
    settings = PipelineSettings(recipe, data, run, device, workers, loggers)
    if dry_run:
        click.echo(describe_run(settings), nl=False)
    elif estimate:
        from vmc.bench.estimate import estimate_run

        print_estimate(estimate_run(settings))
    elif seeds:
        print_seeds(run_seeds(settings, seeds, tell=click.echo))
        for path in pooled_paths(run):
            click.echo(f"{path}")
    else:
        print_records(run_pipeline(settings, tell=click.echo))
        for line in ending(recipe, data, run):
            click.echo(line)


@main.group(invoke_without_command=True, epilog=examples("vmc recipes", "vmc recipes show carracing-v3-dream"))
@click.pass_context
def recipes(context: click.Context) -> None:
    """List the recipes: what each does, its score and cost.

    `vmc run --recipe` takes their names, `vmc run --preset` the names without the environment.
    """
    from vmc.report.tables import print_recipes

    if context.invoked_subcommand is None:
        print_recipes([load_recipe(path) for path in recipe_files().values()])


@recipes.command(epilog=examples("vmc recipes show smoke", "vmc recipes show carracing-v3-dream > mine.toml"))
@click.argument("name")
def show(name: str) -> None:
    """Print a recipe's file, to start your own from."""
    files = recipe_files()
    if name not in files:
        raise VmcError(f"There is no recipe {name!r}.", did_you_mean(name, files))
    click.echo(files[name].read_text(encoding="utf-8"), nl=False)


@main.command("list", epilog=examples("vmc list", "vmc list /scratch/results"))
@click.argument("folder", default=RESULTS, type=_FOLDER)
def list_runs(folder: Path) -> None:
    """List the runs, and the known environments with recipes.

    Without a FOLDER, the runs in results/.
    """
    from vmc.report.tables import print_environments, print_runs

    print_runs(find_runs(folder))
    print_environments(known_environments())
    click.echo("Any other environment that Gymnasium makes can be given too. `vmc recipes` describes the recipes.")


@main.command(
    epilog=examples("vmc report results/carracing-v3", "vmc report results/carracing results/dream --to compared.html")
)
@shared(data=False, device=False, workers=False, steps_env=False, seed=False, run_argument=True)
@click.argument("others", nargs=-1, type=_FOLDER, metavar="[RUN]...")
@click.option(
    "--to", type=_FILE, help="Write this .html file.  [default: report.html in the run, or in the folder of all runs]"
)
def report(recipe: Recipe, run: Path, others: tuple[Path, ...], to: Path | None) -> None:
    """Describe a run in one HTML file, or compare several.

    The file opens from disk and loads nothing: the recipe, the score, learning curves, reconstructions, a dream beside
    the real environment, costs, versions, and the command that repeats the run. Without --to, the curves of a single
    run are also written as PNG files. This needs matplotlib and Jinja2 (the extra `plots`).
    """
    from vmc.report.curves import plot_run
    from vmc.run_report import comparison_path, report_path, write_comparison, write_report

    if others:
        runs = [run, *others]
        click.echo(f"{write_comparison(runs, to or comparison_path(runs))}")
        return
    click.echo(f"{write_report(run, to or report_path(run))}")
    for path in [] if to else plot_run(run):
        click.echo(f"{path}")


@main.command(epilog=examples("vmc inspect results/carracing", "vmc inspect data/carracing-v3"))
@click.argument("path", type=click.Path(path_type=Path))
def inspect(path: Path) -> None:
    """Say what a run or a data folder holds, and check it.

    PATH can also be a checkpoint or a score. Every byte is read and compared with its checksum.
    """
    from vmc.stages.inspection import inspect_path

    for line in inspect_path(path):
        click.echo(line)


@main.command(
    epilog=examples("vmc faithfulness results/carracing-v3", "vmc faithfulness results/carracing-v3 --temperature 1")
)
@shared(run_argument=True, reads_run=True)
@settings_options(FaithfulnessSettings)
def faithfulness(recipe: Recipe, data: Path, run: Path, device: str, workers: Workers, **given: Any) -> None:
    """Compare the dream with the real environment.

    It measures the dream's error by horizon, its calibration, and the same controllers in both.
    """
    from vmc.report.faithfulness import plot_faithfulness
    from vmc.stages.faithfulness import measure_faithfulness

    settings = settings_for(FaithfulnessSettings, recipe, given)
    report = measure_faithfulness(settings, data, run, device, workers)
    picture = run / "faithfulness.png"
    plot_faithfulness(report, picture)
    gap = report["gap"]
    for generation, dreamed, real in zip(gap["generations"], gap["dream"], gap["real"], strict=True):
        click.echo(f"generation {generation:5}: {dreamed:7.1f} in the dream, {real:7.1f} in reality")
    click.echo(f"rank correlation {gap['rank_correlation']:.2f}; {picture}")


@main.command(epilog=examples("vmc ablate", "vmc ablate v-only --from results/carracing-v3"))
@shared(data=False, run=False)
@click.argument("rows", nargs=-1, metavar="[ROW]...")
@click.option("--from", "source", type=_FOLDER, help="Use the V and M of this run.  [default: results/<env>]")
@click.option("--to", type=_FOLDER, help="Keep each row's run below this folder.  [default: that run, with -ablation]")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="OPTION=VALUE",
    help="Override an option of C's search in all rows, e.g. --set generations=20. May be given again.",
)
def ablate(
    recipe: Recipe,
    device: str,
    workers: Workers,
    rows: tuple[str, ...],
    source: Path | None,
    to: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Fill rows of the paper's table, such as V without M.

    Without a ROW, all of them: full, v-only, v-only-hidden, untrained-m, dream, random. Each resumes where it stopped.
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
    seed = f"-seed-{recipe.seed}" if recipe.seed else ""  # searches with another seed are others
    to = to or source.with_name(f"{source.name}-ablation{seed}")
    settings = AblationSettings(recipe, source, to, device, workers, values)
    for row in rows or ROWS:
        run_row(row, settings)
    print_ablation(read_rows(to))
    click.echo(f"{plot_searches({name: to / name for name in ROWS}, to / 'searches.png')}")


@main.command(
    epilog=examples(
        "vmc export --run results/carracing-v3 --to agent",
        "vmc export --run results/carracing-v3 --to agent --episodes 20",
    )
)
@click.option(
    "--run", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="Export this run."
)
@click.option(
    "--to", required=True, type=click.Path(file_okay=False, path_type=Path), help="Write the copy to this folder."
)
@click.option(
    "--episodes", type=click.IntRange(2), default=100, show_default=True, help="Test the copy on this many episodes."
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=available_cores,
    help="Use this many worker processes; 0 works in the main process.  [default: the number of cores]",
)
def export(run: Path, to: Path, episodes: int, workers: int) -> None:
    """Write a run's V and M as float16, and C, to give away.

    The copy is tested, and gets a model card.
    """
    from vmc.models.checkpoints import vae_checkpoint
    from vmc.stages.evaluate import evaluate_and_keep
    from vmc.stages.export import describe_copy, export_run
    from vmc.stages.results import own_result

    size = export_run(run, to)
    settings = make_settings(EvaluateSettings, vae_checkpoint(to).info["env"], {"episodes": episodes})
    score, kept = evaluate_and_keep(settings, to, to, "cpu", workers)
    describe_copy(run, to, own_result(to) or score)
    click.echo(f"{to}: {size / 1e6:.1f} MB, {score['mean']:.1f} ± {score['std']:.1f} over {episodes} episodes.")
    if kept.note:
        click.echo(kept.note)


@main.command(epilog=examples("vmc bench", "vmc bench --only dream --json bench.json"))
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Measure this many interleaved rounds."
)
@click.option(
    "--steps",
    type=click.IntRange(10),
    default=1000,
    show_default=True,
    help="Take this many environment steps in a round.",
)
@click.option("--only", multiple=True, type=click.Choice(BENCHES), help="Measure only this. May be given again.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Run V and M on this device; `auto` is the GPU if there is one.",
)
@click.option("--json", "path", type=_FILE, help="Also write the rates, with machine and versions, to this file.")
def bench(rounds: int, steps: int, only: tuple[str, ...], device: str, path: Path | None) -> None:
    """Measure this machine's speed against named baselines."""
    from vmc.bench.suite import run_benches
    from vmc.report.tables import print_bench

    print_bench(run_benches(only or BENCHES, rounds, steps, device, path))


@main.command(epilog=examples("vmc doctor", "vmc doctor > doctor.txt"))
def doctor() -> None:
    """Say what this machine offers to vmc, for bug reports.

    It prints versions, cores and threads, the GPU, the extras, whether the fast drawing is used, and the caches.
    """
    from vmc.doctor import BUG_REPORT, diagnose
    from vmc.report.tables import print_section

    for title, rows in diagnose():
        print_section(title, rows)
    click.echo(BUG_REPORT)


def _told_nothing_to_do(done: Any) -> bool:
    """Prints how a stage had ended before, where there was nothing to do for it."""
    if done.nothing_to_do:
        click.echo(f"Nothing to do: {done.nothing_to_do}")
    return bool(done.nothing_to_do)


def _refuse_unused(settings: Any, given: dict[str, Any], device: str) -> None:
    """Refuses options of the dream without a dream; tells a device that only a dream would use."""
    if settings.dream:
        if isinstance(settings, EvaluateSettings) and given.get("max_steps") is not None:
            raise click.UsageError("--max-steps is of the real environment. In the dream, give --horizon.")
        return
    for name in DREAM_OPTIONS[type(settings)]:
        if given.get(name) is not None:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} is of the dream. Give --dream, or leave --{option} out.")
    if device == "cuda":
        from vmc.stages.device import choose_device

        choose_device(device)
        click.echo("Real episodes run on the CPU: --device cuda is not used here.", err=True)


def _tell_starts(data: Path, run: Path) -> None:
    from vmc.stages.dreaming import begins_at_kept_moments

    if begins_at_kept_moments(data, run):
        click.echo(f"{data} has no episodes: the dreams begin at the moments kept in {run}, which M was trained on.")


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
