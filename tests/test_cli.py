"""The command line as a user meets it: statuses, messages, interrupts and kills, in processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import click
import psutil
import pytest
from click.testing import CliRunner, Result
from conftest import TOY, TOY_VALUES, ToyRun

from vmc.cli import main
from vmc.executors import ExecutorSettings
from vmc.recipes import load_recipe
from vmc.storage.checkpoint import load_checkpoint, read_sidecar
from vmc.storage.rollouts import RolloutDataset

# Of a command that was sent a signal.
STATUS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 143}


def _options(values: dict[str, object]) -> list[str]:
    return [text for name, value in values.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def _command(stage: str, folder: Path, **values: object) -> list[str]:
    """`vmc <stage>` on the toy, in `folder`."""
    shared = ["--env", TOY, "--data", str(folder / "data")]
    if stage != "rollouts":
        shared += ["--run", str(folder / "run")]
    return [stage, *shared, *_options({**TOY_VALUES.get(stage, {}), **values})]


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def _start(arguments: list[str], **options: bool) -> subprocess.Popen[str]:
    # A shell starts what is in its background with SIGINT ignored, and so would what that starts.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, "-m", "vmc", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed,  # noqa: PLW1509
        **options,
    )


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def _assert_told(result: Result, *patterns: str) -> None:
    """Status 1, the message on stderr, no traceback."""
    assert result.exit_code == 1, result.output
    assert "\nError: " in f"\n{result.stderr}"  # the first CarRacing of a machine is announced before
    assert "Traceback" not in result.stderr
    for pattern in patterns:
        assert re.search(pattern, result.stderr), result.stderr


def test_every_command_and_option_is_documented() -> None:
    root = Path(__file__).parent.parent
    documents = "".join(path.read_text() for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))))
    for name, command in main.commands.items():
        assert command.help, name
        assert f"vmc {name}" in documents
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"{name} {option.name}"


def test_help_imports_no_torch() -> None:
    code = "import sys, vmc.cli, vmc.stages.collect; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["rollouts", "--episodes", "0"],
        ["rollouts", "--policy", "clever"],
        ["train-vae", "--learning-rate", "0"],
        ["train-mdrnn", "--mixture", "none"],
        ["train-controller", "--init", "last"],
        ["train-controller", "--validate-in", "mind"],
        ["train-controller", "--population-size", "3"],
        ["train-controller", "--temperature", "-1"],
        ["test", "--episodes", "one"],
        ["run", "--preset", "smoke", "--recipe", "dream"],
        ["run", "--rounds", "2"],
        ["report", "--seed", "1"],
        ["run", "--set", "train-vea.epochs=3"],
        ["run", "--set", "epochs"],
        ["run", "--seeds", "0,one"],
        ["run", "--seeds", "1,1"],
        ["run", "--seeds", "0,1", "--seed", "2"],
        ["run", "--log", "paper"],
        ["frobnicate"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    result = _run(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr


@pytest.mark.parametrize(
    ("stage", "options", "told"),
    [
        ("test", {"temperature": "1.3"}, "--temperature is of the dream. Give --dream"),
        ("test", {"sample-termination": None}, "--sample-termination is of the dream"),
        ("test", {"horizon": 20}, "--horizon is of the dream"),
        ("test", {"dream": None, "max-steps": 20}, "--max-steps is of the real environment.*--horizon"),
        ("train-controller", {"reward-soft-cap": 1.3}, "--reward-soft-cap is of the dream"),
        ("train-controller", {"action-noise": 0.1}, "--action-noise is of the dream"),
        ("rollouts", {"policy": "random", "action-noise": 0.1}, "--action-noise is of the policy `controller`"),
    ],
)
def test_an_option_that_would_be_ignored_is_wrong_usage(
    stage: str, options: dict[str, object], told: str, tmp_path: Path
) -> None:
    given = [text for name, value in options.items() for text in (f"--{name}", value) if text is not None]
    result = _run(*_command(stage, tmp_path), *map(str, given))
    assert result.exit_code == 2, result.output
    assert re.search(told, result.stderr), result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stage", ["test", "train-controller"])
def test_a_gpu_is_not_asked_for_in_vain(stage: str, toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    command = _command(stage, toy.data.parent, workers=0, device="cuda", **({"episodes": 2} if stage == "test" else {}))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    _assert_told(_run(*command), "finds no CUDA device")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    result = _run(*command)
    assert result.exit_code == 0, result.stderr
    assert "--device cuda is not used here" in result.stderr


def test_an_option_of_a_stage_points_to_set() -> None:
    result = _run("run", "--epochs", "3")
    assert result.exit_code == 2
    assert re.search("No such option:? .?--epochs", result.stderr)
    assert "--set train-vae.epochs=... or --set train-mdrnn.epochs=..." in result.stderr
    assert "--set train-controller.population-size=..." in _run("run", "--population-size=3").stderr
    assert "--set" not in _run("run", "--frobnicate").stderr


def test_nothing_to_do_is_said(toy: ToyRun) -> None:
    folder = toy.data.parent
    config = (toy.run / "vae" / "config.json").read_bytes()
    for stage, values, told in (
        ("rollouts", {"policy": "random"}, r"data holds 14 episodes already \(14 by brownian, seed 0\)"),
        ("rollouts", {"seed": 3, "episodes": 5}, r"data holds 14 episodes already"),
        ("train-vae", {"epochs": 4}, r"V in .*vae has 6 epochs already"),
        ("train-mdrnn", {"epochs": 3}, r"M in .*mdrnn has 40 epochs already"),
        ("train-controller", {"generations": 2}, r"C in .*controller has 3 generations already"),
        ("train-controller", {"target_return": -1000}, r"C in .*controller reached .* already, after 3 generations"),
    ):
        result = _run(*_command(stage, folder, **values))
        assert result.exit_code == 0, result.stderr
        assert re.search(f"^Nothing to do: .*{told}", result.stdout), result.stdout
        assert "episodes added" not in result.stdout
    assert (toy.run / "vae" / "config.json").read_bytes() == config
    assert "Nothing to do" not in _run(*_command("rollouts", folder, episodes=16, workers=0)).stdout


def test_another_seed_has_folders_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    toy = ["rollouts", "--env", TOY, "--episodes", "4", "--max-steps", "3", "--workers", "0"]
    for seed in ([], ["--seed", "0"], ["--seed", "2"]):
        assert _run(*toy, *seed).exit_code == 0
    assert sorted(path.name for path in Path("data").iterdir()) == ["vmc-toy-v0", "vmc-toy-v0-seed-2"]
    # The seed of a test is of its episodes: the run may have another one.
    for folder in ("vmc-toy-v0", "vmc-toy-v0-seed-2"):
        _assert_told(_run("test", "--env", TOY, "--seed", "2"), f"no checkpoint results/{folder}/vae")
        Path("results/vmc-toy-v0-seed-2").mkdir(parents=True, exist_ok=True)


def test_a_run_does_not_go_on_with_another_seed(toy: ToyRun) -> None:
    command = _command("train-vae", toy.data.parent, seed=1)
    _assert_told(_run(*command), "trained with seed = 0; now it is 1", "A new seed needs its own --run and --data")


def test_a_smaller_test_leaves_the_published_one_and_says_where_it_is(toy: ToyRun) -> None:
    command = _command("test", toy.data.parent, workers=0)
    assert "keeps" not in _run(*command).stdout
    published = (toy.run / "test.json").read_bytes()
    result = _run(*[*command, "--episodes", "2"])
    assert f"{toy.run / 'test.json'} keeps its 10 episodes; these 2 episodes are in" in result.stdout
    result = _run(*[*command, "--policy", "random"])
    assert f"is in {toy.run / 'test-random-10-episodes.json'}." in result.stdout
    assert (toy.run / "test.json").read_bytes() == published


def test_wrong_settings_are_told_before_any_work(tmp_path: Path) -> None:
    shared = ["--env", TOY, "--run", str(tmp_path / "run"), "--data", str(tmp_path / "data")]
    _assert_told(
        _run("run", *shared, "--set", "train-vae.epoch=3"), "train-vae has no option 'epoch'", "Did you mean 'epochs'"
    )
    _assert_told(_run("run", *shared, "--set", "test.episodes=1"), "episodes is 1; it must be at least 2")
    _assert_told(_run("run", *shared, "--set", "train-vae.epochs=many"), "must be of type int")
    _assert_told(
        _run("run", *shared, "--set", "train-mdrnn.dynamics=rnn"), "There is no M of kind 'rnn'", "module:Class"
    )
    _assert_told(_run("run", *shared, "--set", "train-vae.vision=eye"), "There is no V of kind 'eye'", "module:Class")
    assert not list(tmp_path.iterdir())


def test_unknown_environments(tmp_path: Path) -> None:
    _assert_told(_run("rollouts", "--env", "CarRacing-v9", "--data", str(tmp_path)), "CarRacing-v9", "v3")
    _assert_told(_run("run", "--env", "CarRacin-v3", "--data", str(tmp_path)), "Did you mean CarRacing-v3")
    _assert_told(
        _run("rollouts", "--env", "no_such_module:Env-v0", "--data", str(tmp_path)),
        "No module named 'no_such_module'",
        "in the current folder and on Python's path",
    )
    _assert_told(_run("rollouts", "--env", "FrozenLake-v1", "--data", str(tmp_path)), "does not fit", "uint8 pictures")
    _assert_told(_run("run", "--env", "CartPole-v1,pixel", "--data", str(tmp_path)), "neither NAME=VALUE nor")


def test_stages_name_the_one_that_is_missing(tmp_path: Path) -> None:
    _assert_told(_run(*_command("train-vae", tmp_path)), "no episodes", "vmc rollouts")
    _assert_told(_run(*_command("train-mdrnn", tmp_path)), "no checkpoint", "vmc train-vae")
    _assert_told(_run(*_command("train-controller", tmp_path)), "no checkpoint", "vmc train-vae")
    _assert_told(_run(*_command("test", tmp_path)), "no checkpoint", "vmc train-vae")
    _assert_told(_run("report", "--run", str(tmp_path)), "holds no run")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--address", "auto"], "Give --executor ray, too"),
        (["--gpus-per-worker", "1"], "Give --executor ray, too"),
        (["--executor", "ray", "--workers", "0"], "Give --workers 1 or more"),
    ],
)
def test_options_of_workers_that_contradict_each_other_are_told(options: list[str], told: str, tmp_path: Path) -> None:
    _assert_told(_run(*_command("rollouts", tmp_path, episodes=4), *options), told)
    assert not (tmp_path / "data").exists()


def test_a_cluster_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmc.extras.find_spec", lambda module: None)
    _assert_told(_run(*_command("rollouts", tmp_path, episodes=4), "--executor", "ray"), r"pip install '\.\[ray\]'")


def test_a_recipe_may_say_where_its_jobs_run(tmp_path: Path) -> None:
    """The command line has the last word; what is the default is not told."""
    file = tmp_path / "mine.toml"
    file.write_text(f"""
env = "{TOY}"
executor = "ray"
address = "auto"
workers = 64
[[rounds]]
[rounds.rollouts]
episodes = 4
""")
    shown = _run("run", "--recipe", str(file), "--dry-run").stdout
    assert "# executor: ray" in shown
    assert "# workers: 64" in shown
    written = tmp_path / "shown.toml"
    written.write_text(shown)
    assert load_recipe(written).workers == ExecutorSettings(64, "ray", "auto")
    shown = _run("rollouts", "--recipe", str(file), "--workers", "max", "--address", "local", "--show-config").stdout
    assert 'address = "local"' in shown
    assert "workers" not in shown
    file.write_text(file.read_text().replace("64", "-1"))
    _assert_told(_run("run", "--recipe", str(file)), "line 5", "at least 0")


def test_a_job_timeout_is_an_option_of_what_has_workers(tmp_path: Path) -> None:
    options = ["--job-timeout", "7.5", "--workers", "2"]
    assert "job-timeout = 7.5" in _run(*_command("test", tmp_path), *options, "--show-config").stdout
    assert "# job-timeout: 7.5" in _run("run", "--preset", "smoke", "--dry-run", *options).stdout
    _assert_told(_run(*_command("test", tmp_path, workers=0), "--job-timeout", "3"), "--workers 1 or more")
    result = _run(*_command("rollouts", tmp_path, episodes=4), *options)
    assert result.exit_code == 0, result.stderr


def test_a_trial_does_not_become_the_start_of_a_real_run(tmp_path: Path) -> None:
    assert _run(*_command("rollouts", tmp_path, episodes=4, max_steps=10, workers=0)).exit_code == 0
    _assert_told(_run(*_command("rollouts", tmp_path, episodes=4, workers=0)), "max_steps = 10; now there is no limit")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    _assert_told(_run(*_command("train-vae", tmp_path, learning_rate="inf")), "learning_rate is inf; it must be finite")
    _assert_told(_run(*_command("train-controller", tmp_path, target_return="nan")), "must be finite")


def test_a_run_of_another_environment_is_told(toy: ToyRun) -> None:
    command = ["test", "--run", str(toy.run), "--env", "CarRacing-v3"]
    _assert_told(_run(*command), "trained on vmc/Toy-v0, not on CarRacing-v3")


def test_a_run_knows_its_environment(toy: ToyRun) -> None:
    """Given as an argument or by --run, `--env` is not asked for."""
    for place in ([str(toy.run)], ["--run", str(toy.run)]):
        result = _run("test", *place, "--episodes", "2", "--workers", "0")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("vmc/Toy-v0: ")
        shown = _run("faithfulness", *place, "--show-config").stdout
        assert 'env = "vmc/Toy-v0"' in shown
        assert f'run = "{toy.run}"' in shown
    assert _run("report", str(toy.run)).exit_code == 0
    both = _run("test", str(toy.run), "--run", "other")
    assert both.exit_code == 2
    assert "The argument names the run" in both.stderr


def test_a_runs_data_are_those_of_its_name(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy.run.parent)
    assert 'data = "data/vmc-toy-v0"' in _run("faithfulness", "run", "--show-config").stdout
    (toy.run.parent / "data" / "run").mkdir()
    assert 'data = "data/run"' in _run("faithfulness", "run", "--show-config").stdout


def test_nothing_trained_names_the_agents_that_there_are(toy: ToyRun) -> None:
    told = _run("test", str(toy.run.parent / "other"))
    _assert_told(told, "nothing was trained in", f"vmc test {re.escape(str(toy.run))}  .vmc/Toy-v0.", "To train one")
    steps = ["vmc run", "vmc rollouts", "vmc train-vae", "vmc train-mdrnn", "vmc train-controller", "vmc test`"]
    positions = [told.stderr.index(f"`{step}", told.stderr.index("To train")) for step in steps]
    assert positions == sorted(positions)


def test_list_shows_runs_and_environments(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy.run.parent)
    assert _run("test", str(toy.run), "--episodes", "2", "--workers", "0").exit_code == 0
    (toy.run.parent / "empty").mkdir()
    result = _run("list", ".")
    assert result.exit_code == 0, result.stderr
    row = next(line for line in result.stdout.splitlines() if line.startswith("│ run "))
    assert "vmc/Toy-v0" in row
    assert "over 2 episodes" in row
    assert "V, M, C" in row
    assert "empty" not in result.stdout
    assert "CarRacing-v3" in result.stdout
    assert "906 ± 21" in result.stdout


def test_show_config_prints_what_is_in_force_and_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for stage in ("rollouts", "train-vae", "train-mdrnn", "train-controller", "test"):
        result = _run(stage, "--preset", "smoke", "--env", TOY, "--seed", "3", "--show-config")
        assert result.exit_code == 0, result.stderr
        shown = tomllib.loads(result.stdout)
        assert shown["env"] == TOY
        assert shown[stage]["seed"] == 3
    assert tomllib.loads(_run("train-vae", "--epochs", "4", "--show-config").stdout)["train-vae"]["epochs"] == 4
    shown = tomllib.loads(_run("test", "--temperature", "0.5", "--show-config").stdout)
    assert shown["test"]["temperature"] == 0.5
    assert not list(tmp_path.iterdir())


def test_a_dry_run_prints_every_round_and_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = _run("run", "--preset", "dream", "--dry-run", "--set", "train-vae.epochs=7", "--seed", "2")
    assert result.exit_code == 0, result.stderr
    assert "# run: results/carracing-v3-dream-seed-2" in result.stdout
    shown = tomllib.loads(result.stdout)
    assert sum(each["repeat"] for each in shown["rounds"]) == 7
    assert {each["train-vae"]["epochs"] for each in shown["rounds"] if "train-vae" in each} == {7}
    assert shown["rounds"][0]["train-controller"]["sample_termination"] is False  # a default
    assert not list(tmp_path.iterdir())


def test_another_seed_has_folders_of_its_own_but_a_test_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = {
        command: tomllib.loads(_run(command, "--seed", seed, "--show-config").stdout)["run"]
        for command, seed in (("train-vae", "1"), ("train-mdrnn", "0"), ("test", "1"))
    }
    assert folders == {
        "train-vae": "results/carracing-v3-seed-1",
        "train-mdrnn": "results/carracing-v3",
        "test": "results/carracing-v3",
    }


def test_doctor_says_what_a_bug_report_needs() -> None:
    result = _run("doctor")
    assert result.exit_code == 0, result.stderr
    for title in ("Versions", "Processor", "GPU", "Extras", "Drawing and caches", "A bug report should hold"):
        assert f"\n{title}" in f"\n{result.stdout}"
    for row in (r"vmc +\d", r"torch +\d", r"BLAS +\w", r"wandb +(installed|In a clone)", r"numba's cache +/"):
        assert re.search(row, result.stdout), row


def test_a_logger_that_is_missing_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    monkeypatch.chdir(tmp_path)
    for command in ("run", "train-vae", "train-mdrnn", "train-controller"):
        _assert_told(_run(command, "--log", "trackio"), "Trackio is not installed", r"pip install '\.\[trackio\]'")
    assert not list(tmp_path.iterdir())


def test_an_unknown_kind_of_model_is_told(toy: ToyRun) -> None:
    _assert_told(_run(*_command("train-mdrnn", toy.data.parent), "--dynamics", "diffusion"), "There is no M of kind")
    command = _command("train-vae", toy.data.parent)
    _assert_told(_run(*command, "--vision", "no_such:Own"), "V of kind 'no_such:Own' cannot be imported", "PYTHONPATH")


def test_validation_in_the_dream_needs_the_dream(toy: ToyRun) -> None:
    command = _command("train-controller", toy.data.parent, validate_in="dream", workers=0)
    _assert_told(_run(*command), "validated in the dream, but its fitness is real", "--dream")


def test_too_few_episodes(tmp_path: Path) -> None:
    assert _run(*_command("rollouts", tmp_path, episodes=3, workers=0)).exit_code == 0
    _assert_told(_run(*_command("train-vae", tmp_path)), "3 episodes are too few", "--episodes 4")


def test_an_interrupted_stage_must_be_finished_first(toy: ToyRun) -> None:
    process = _start(_command("train-vae", toy.data.parent, epochs=1000, patience=1000))
    before = _epoch(toy)
    _wait_for(lambda: _epoch(toy) > before, process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Interrupted. Run the same command again" in stderr
    assert "Traceback" not in stderr
    _assert_told(_run(*_command("train-mdrnn", toy.data.parent)), "not finished", "vmc train-vae")


def _epoch(toy: ToyRun) -> int:
    # The sidecar alone: its files may be replaced while they are read.
    return int(read_sidecar(toy.run / "vae", "latest", "")["info"]["state"]["epoch"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_rollouts_killed_and_run_again_equal_the_uninterrupted(number: signal.Signals, tmp_path: Path) -> None:
    values = {"episodes": 60, "workers": 2}
    process = _start(_command("rollouts", tmp_path / "killed", **values))
    _wait_for(lambda: any((tmp_path / "killed" / "data").glob("*.h5")), process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == STATUS[number]
    # No orphan goes on writing: what is there now is there a moment later, and it is whole.
    time.sleep(0.5)
    present = len(RolloutDataset(tmp_path / "killed" / "data").episodes)
    assert 0 < present < 60
    for folder in ("killed", "whole"):
        assert _run(*_command("rollouts", tmp_path / folder, **values)).exit_code == 0
    fingerprints = {RolloutDataset(tmp_path / folder / "data").fingerprint() for folder in ("killed", "whole")}
    assert len(fingerprints) == 1
    assert not list((tmp_path / "killed" / "data").glob("*.partial"))


@pytest.mark.parametrize("stage", ["train-vae", "train-mdrnn", "train-controller"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_training_killed_and_run_again_equals_the_uninterrupted(
    stage: str, number: signal.Signals, toy: ToyRun
) -> None:
    """The fixture's run was trained in one go; the same stage is now trained by a process that dies on the way."""
    import shutil

    name = {"train-vae": "vae", "train-mdrnn": "mdrnn", "train-controller": "controller"}[stage]
    whole = load_checkpoint(toy.run / name, "latest", "")
    shutil.rmtree(toy.run / name)
    command = _command(stage, toy.data.parent, device="cpu", **({"workers": 2} if name == "controller" else {}))
    process = _start(command)
    _wait_for((toy.run / name / "latest.json").exists, process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == STATUS[number]
    again = subprocess.run([sys.executable, "-m", "vmc", *command], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert load_checkpoint(toy.run / name, "latest", "").sha256 == whole.sha256


def test_a_worker_that_is_killed_costs_nothing(toy: ToyRun, tmp_path: Path) -> None:
    """One worker of a test is killed; its episode is run again and the score is the same."""
    import psutil

    command = _command("test", toy.data.parent, episodes=60, workers=2)
    process = _start(command)
    workers: list[psutil.Process] = []

    def has_workers() -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):  # a child that ends meanwhile
            workers[:] = [p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline())]
        return len(workers) == 2

    _wait_for(has_workers, process)
    workers[0].kill()
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "SIGKILL" in stderr
    score = stdout.splitlines()[-1]
    assert _run(*command).stdout.splitlines()[-1] == score


@pytest.mark.parametrize("stage", ["vae", "mdrnn", "controller"])
@pytest.mark.parametrize("kind", ["weights", "json"])
def test_a_flipped_byte_is_told(stage: str, kind: str, toy: ToyRun) -> None:
    folder = toy.run / stage
    path = folder / "best.json" if kind == "json" else next(folder.glob("best-weights-*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    _assert_told(_run(*_command("test", toy.data.parent, workers=0)), re.escape(str(path)), "corrupt", f"train-{stage}")
    assert _run("inspect", str(toy.run)).exit_code == 1


@pytest.mark.parametrize("stage", ["vae", "mdrnn", "controller"])
def test_weights_that_are_missing_can_be_made_again_as_the_message_says(stage: str, toy: ToyRun) -> None:
    folder, command = toy.run / stage, _command(f"train-{stage}", toy.data.parent, device="cpu")
    expected = read_sidecar(folder, "best", "")["files"]["weights"]
    (folder / expected["name"]).unlink()
    told = f"remove best.json and latest.json in {re.escape(str(folder))} and run `vmc train-{stage}` again"
    _assert_told(_run(*_command("test", toy.data.parent, workers=0)), "is missing, but best.json names it", told)
    for name in ("best", "latest"):
        (folder / f"{name}.json").unlink()
    result = _run(*command, *(["--workers", "0"] if stage == "controller" else []))
    assert result.exit_code == 0, result.stderr
    assert read_sidecar(folder, "best", "")["files"]["weights"] == expected
    assert _run("inspect", str(toy.run)).exit_code == 0


def test_a_worker_tells_a_flipped_byte_too(toy: ToyRun) -> None:
    path = next((toy.run / "controller").glob("best-weights-*"))
    path.write_bytes(path.read_bytes()[:-1])
    command = _command("rollouts", toy.data.parent, policy="controller", workers=2, episodes=20)
    _assert_told(_run(*command, "--run", str(toy.run)), "corrupt")


def test_a_truncated_shard_is_told_and_can_be_made_again(toy: ToyRun) -> None:
    shard = next(toy.data.glob("*.h5"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    _assert_told(_run(*_command("train-vae", toy.data.parent)), re.escape(str(shard)), "Move it away")
    shard.unlink()
    assert _run(*_command("rollouts", toy.data.parent, workers=0)).exit_code == 0
    assert shard.exists()


def test_a_folder_that_cannot_be_written(toy: ToyRun) -> None:
    blocker = toy.run / "file"
    blocker.touch()
    command = _command("rollouts", toy.data.parent, workers=0)
    command[command.index("--data") + 1] = str(blocker / "data")
    _assert_told(_run(*command), "Cannot write", "a part of the path is a file")


def test_ctrl_c_while_workers_start_shows_no_trace_of_theirs(tmp_path: Path) -> None:
    process = _start(_command("rollouts", tmp_path, episodes=400, workers=2), start_new_session=True)
    _wait_for(lambda: len(psutil.Process(process.pid).children()) >= 3, process)  # a tracker of resources among them
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 130, shown
    assert "Traceback" not in shown
    assert "Interrupted." in shown


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX limits")
def test_no_space_left_loses_nothing(toy: ToyRun) -> None:
    """A limit on file sizes stands for a full disk: the kernel refuses the write, and the old checkpoint stays."""
    import resource

    before = load_checkpoint(toy.run / "vae", "latest", "").sha256

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    command = [sys.executable, "-m", "vmc", *_command("train-vae", toy.data.parent, epochs=8)]
    found = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert found.returncode == 1, found.stderr
    assert "Cannot write" in found.stderr
    assert "Traceback" not in found.stderr
    assert load_checkpoint(toy.run / "vae", "latest", "").sha256 == before


def test_inspect_says_what_is_there(toy: ToyRun) -> None:
    run = _run("inspect", str(toy.run))
    assert run.exit_code == 0, run.stderr
    for text in ("V, ", "M, ", "C, 41 numbers", "latents of", "intact", "belong together"):
        assert text in run.stdout
    data = _run("inspect", str(toy.data))
    assert "14 episodes of vmc/Toy-v0" in data.stdout
    assert "brownian 14" in data.stdout
    _assert_told(_run("inspect", str(toy.data.parent / "nothing")), "nothing at")
    _assert_told(_run("inspect", str(Path(__file__).parent)), "no run, checkpoint")


def test_the_report_of_a_run_and_its_pictures(toy: ToyRun, tmp_path: Path) -> None:
    result = _run("report", "--run", str(toy.run))
    assert result.exit_code == 0, result.stderr
    names = ("report.html", "vae/curves.png", "mdrnn/curves.png", "controller/fitness.png")
    assert result.stdout.split() == [str(toy.run / name) for name in names]
    for path in (*names[1:], "vae/reconstructions.png"):
        assert (toy.run / path).read_bytes().startswith(b"\x89PNG")
    first = (toy.run / "report.html").read_text(encoding="utf-8")
    assert _run("report", str(toy.run), "--to", str(tmp_path / "own.html")).exit_code == 0
    assert (tmp_path / "own.html").read_text(encoding="utf-8") == first
    _assert_told(_run("report", str(toy.run), "--to", str(tmp_path / "own.txt")), r"does not end with \.html")
    _assert_told(_run("report", str(tmp_path / "nothing")), "nothing is no folder", "Runs that are there: .*run")


def test_several_runs_are_compared(toy: ToyRun) -> None:
    other = shutil.copytree(toy.run, toy.run.with_name("other"))
    result = _run("report", str(toy.run), str(other))
    assert result.exit_code == 0, result.stderr
    assert Path(result.stdout.strip()).resolve() == (toy.run.parent / "report.html").resolve()
    assert "Runs compared" in (toy.run.parent / "report.html").read_text(encoding="utf-8")
    assert _run("report", "--run", str(toy.run), str(other), str(other)).exit_code == 2


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_film_shows_the_frames_beside_the_reconstruction_and_the_dream(ending: str, toy: ToyRun) -> None:
    import av

    path = toy.run / f"film.{ending}"
    result = _run(*_command("test", toy.data.parent, episodes=2, workers=0), "--video", str(path))
    assert result.exit_code == 0, result.stderr
    with av.open(str(path)) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert f"{path}: the first test episode, {len(frames)} steps." in result.stdout or ending == "gif"
    strip = 28  # the panels' labels; as high is the caption below
    assert frames[0].shape == (strip + 256 + strip, 3 * 256 + 2 * 8, 3)
    assert frames[0][:strip].mean() > 200  # dark on white
    assert frames[0][-strip:].mean() > 200
    # The toy's frames are one colour; V learnt it, so the middle panel is near the left one. Green is always 0.
    panels = frames[-1][strip + 20 : strip + 200]
    left, middle = panels[:, 20:236].mean((0, 1)), panels[:, 284:500].mean((0, 1))
    assert abs(left - middle).max() < 60


def test_a_film_of_another_kind_is_refused(toy: ToyRun) -> None:
    _assert_told(_run(*_command("test", toy.data.parent), "--video", "film.avi"), "neither .mp4 nor .gif")


def test_several_temperatures_give_a_table_with_reality(toy: ToyRun) -> None:
    command = _command("test", toy.data.parent, episodes=4, workers=0)
    result = _run(*command, "--dream", "--temperature", "0.5,1.3")
    assert result.exit_code == 0, result.stderr
    assert [word for word in ("0.5", "1.3", "reality") if word in result.stdout] == ["0.5", "1.3", "reality"]
    rows = json.loads((toy.run / "test-temperatures.json").read_text())
    assert [row["temperature"] for row in rows] == [0.5, 1.3, None]
    assert rows[2]["mean"] == json.loads((toy.run / "test.json").read_text())["mean"]


def test_a_run_without_its_data_is_dreamed_from_the_moments_it_keeps(toy: ToyRun) -> None:
    with_data = _run(*_command("test", toy.data.parent, episodes=4, horizon=20), "--dream")
    assert "no episodes" not in with_data.stdout
    shutil.rmtree(toy.data)
    (toy.run / "latents.h5").unlink()
    result = _run(*_command("test", toy.data.parent, episodes=4, horizon=20), "--dream")
    assert result.exit_code == 0, result.stderr
    assert f"the dreams begin at the moments kept in {toy.run}" in result.stdout
    assert "mean return" in _search(toy).stdout
    evolved = load_checkpoint(toy.run / "controller", "best", "vmc train-controller")
    starts = read_sidecar(toy.run / "mdrnn", "starts", "vmc train-mdrnn")
    assert evolved.info["data"] == starts["files"]["weights"]["sha256"]
    (toy.run / "mdrnn" / "starts.json").unlink()
    _assert_told(_search(toy), "There are no episodes in .*data", "Run `vmc rollouts` first")


def _search(toy: ToyRun) -> Result:
    return _run(*_command("train-controller", toy.data.parent, generations=1, workers=0), "--dream")


def test_a_dream_is_by_default_that_of_the_runs_c(toy: ToyRun) -> None:
    shutil.rmtree(toy.run / "controller")
    values = {"generations": 1, "temperature": 2.0, "horizon": 13, "workers": 0}
    assert _run(*_command("train-controller", toy.data.parent, **values), "--dream").exit_code == 0
    command = _command("test", toy.data.parent, episodes=4)
    result = _run(*command, "--dream")
    assert "the dream at temperature 2.0" in result.stdout
    rows = json.loads((toy.run / "test-dream.json").read_text())["episodes"]
    assert max(row["episode_length"] for row in rows) <= 13
    assert "the dream at temperature 0.5" in _run(*command, "--dream", "--temperature", "0.5").stdout


def test_a_temperature_that_is_no_number_is_wrong_usage(toy: ToyRun) -> None:
    result = _run(*_command("test", toy.data.parent), "--temperature", "0.5,warm")
    assert result.exit_code == 2
    assert "'0.5,warm' is not a list of numbers" in result.stderr


def test_faithfulness_prints_both_worlds(toy: ToyRun) -> None:
    values = {"controllers": 2, "episodes": 2, "dreams": 4, "horizon": 20, "workers": 0}
    shared = ["--env", TOY, "--data", str(toy.data), "--run", str(toy.run)]
    result = _run("faithfulness", *shared, *_options(values))
    assert result.exit_code == 0, result.stderr
    assert "in the dream" in result.stdout
    assert "rank correlation" in result.stdout
    assert (toy.run / "faithfulness.png").exists()
