import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun

import vmc
from vmc import Noise, Trajectory, VmcError, load_run
from vmc.seeding import env_seed
from vmc.stages.evaluate import evaluate_controller as score_controller
from vmc.stages.settings import EvaluateSettings

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_every_name_is_there_and_documented() -> None:
    for name in vmc.__all__:
        assert getattr(vmc, name).__doc__
    assert sorted(vmc.__all__) == sorted(vmc._HOME_OF)
    with pytest.raises(AttributeError, match="no attribute 'lead_run'"):
        _ = vmc.lead_run


def test_importing_vmc_imports_no_torch() -> None:
    """Worker processes start in a second because of this."""
    code = "import sys, vmc; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "False\n"


def test_a_run_drives_as_its_test_does(toy: ToyRun) -> None:
    run = load_run(toy.run)
    assert run.env == TOY
    trajectory = Trajectory()
    outcome = run.drive(env_seed(0, "test", 0), trajectory=trajectory)
    test = score_controller(EvaluateSettings(TOY, episodes=2), toy.data, toy.run, "cpu", 0)
    assert test["episodes"][0]["episode_return"] == outcome.episode_return == pytest.approx(sum(trajectory.rewards))
    means, log_variances = run.encode(np.stack(trajectory.frames))
    assert means.shape == log_variances.shape == (outcome.episode_length + 1, 8)
    assert run.decode(means[:3]).shape == (3, 64, 64, 3)


def test_a_run_dreams_on_batches_of_any_size(toy_session: ToyRun) -> None:
    run = load_run(str(toy_session.run))
    world = run.dream(temperature=0.5)
    for size in (1, 7):
        starts = run.starts.selected(np.arange(size))
        noise = Noise(torch.rand(size, 8), torch.randn(size, 8), torch.rand(size))
        actions = torch.zeros(size, run.dynamics.settings.action_size)
        step = world.step(starts.means, starts.hidden, actions, noise)
        assert step.latents.shape == (size, 8)
        assert step.rewards.shape == step.terminated.shape == (size,)


def test_a_run_without_c_says_so(toy: ToyRun) -> None:
    (toy.run / "controller" / "best.json").unlink()
    with pytest.raises(VmcError, match="has no C"):
        load_run(toy.run).agent()


@pytest.mark.parametrize("example", ["custom_environment", "dream", "latent_walk"])
def test_the_examples_run(example: str, toy_session: ToyRun, tmp_path: Path) -> None:
    arguments = {"custom_environment": [tmp_path], "dream": [toy_session.run]}
    given = arguments.get(example, [toy_session.run, tmp_path / "walk.png"])
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), *map(str, given)]
    shown = subprocess.run(command, check=False, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    last = shown.stdout.splitlines()[-1]
    if example == "custom_environment":  # the point learns to go to its mark
        assert -20 < float(last.split()[2]) < 0, last
    elif example == "dream":
        assert last.startswith("64 dreams of 100 steps: return ")
    else:
        assert (tmp_path / "walk.png").stat().st_size > 0
