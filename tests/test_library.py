import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun

import vmc
from vmc import DreamSettings, Noise, Trajectory, VmcError, draw_noise, load_run, make_env
from vmc.envs import action_map_from_json, action_map_of
from vmc.episode import Limits, iterate_episode
from vmc.models.agent import load_agent
from vmc.models.checkpoints import dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.models.controller import LinearController
from vmc.seeding import env_seed, stream
from vmc.stages.evaluate import evaluate_controller
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
    test = evaluate_controller(EvaluateSettings(TOY, episodes=2), toy.data, toy.run, "cpu", 0)
    assert test["episodes"][0]["episode_return"] == outcome.episode_return == pytest.approx(sum(trajectory.rewards))
    means, log_variances = run.encode(np.stack(trajectory.frames))
    assert means.shape == log_variances.shape == (outcome.episode_length + 1, 8)
    assert run.decode(means[:3]).shape == (3, 64, 64, 3)


def test_a_decision_tells_from_what_it_was_made(toy_session: ToyRun) -> None:
    """z, M's features and C's outputs at each frame, and the action that follows from them."""
    vae = vae_checkpoint(toy_session.run)
    dynamics = dynamics_checkpoint(toy_session.run, vae)
    stored = load_controller(toy_session.run, vae, dynamics)
    controller, action_map = (
        LinearController(stored.settings, stored.parameters),
        action_map_from_json(dynamics.info["action_map"]),
    )
    agent, env = load_run(toy_session.run).agent(), make_env(TOY)
    steps = list(iterate_episode(env, agent, 5, stream(5, "agent"), Limits(max_steps=12)))
    assert len(steps) == 12
    for step in steps:
        decision = step.decision
        assert decision.latent is not None
        assert decision.features is not None
        assert decision.outputs is not None
        assert {name: len(values) for name, values in decision.features.items()} == {"z": 8, "h": 32, "c": 32}
        np.testing.assert_array_equal(decision.features["z"], decision.latent)
        np.testing.assert_array_equal(decision.outputs, controller.act(decision.features))
        np.testing.assert_array_equal(decision.action, action_map(decision.outputs))
    # C reads M's memory from before M sees this z: at the first frame there is none.
    first = steps[0].decision.features
    assert first is not None
    assert not first["h"].any()
    env.close()


def test_a_decision_under_action_noise_has_the_outputs_from_before_the_noise(toy_session: ToyRun) -> None:
    agent, env = load_agent(toy_session.run, TOY, action_noise=0.7), make_env(TOY)
    steps = list(iterate_episode(env, agent, 5, stream(5, "agent"), Limits(max_steps=12)))
    actions = [step.decision.action for step in steps]
    action_map = action_map_of(TOY, env)
    assert all(step.decision.outputs is not None for step in steps)
    without_noise = [action_map(step.decision.outputs) for step in steps]  # type: ignore[arg-type]
    assert not np.allclose(actions, without_noise)
    env.close()


def test_a_run_dreams_on_batches_of_any_size(toy_session: ToyRun) -> None:
    run = load_run(str(toy_session.run))
    world, act = run.dream(), run.batch_controller()
    settings = DreamSettings(temperature=0.5)
    for size in (1, 7):
        state = run.starts.selected(np.arange(size)).state
        generators = [np.random.default_rng(row) for row in range(size)]
        numbers = draw_noise(generators, 3, world.noise_sizes, torch.device("cpu"))
        for t in range(3):
            actions = act(world.features(state))
            assert actions.shape == (size, 1)
            step = world.step(state, actions, Noise(*(part[t] for part in numbers)), settings)
            state = step.state
            assert world.latents(state).shape == (size, 8)
            assert step.rewards.shape == step.terminated.shape == step.terminations.shape == (size,)


def test_the_controller_of_a_batch_is_that_of_the_agent(toy_session: ToyRun) -> None:
    run, env = load_run(toy_session.run), make_env(TOY)
    steps = list(iterate_episode(env, run.agent(), 5, stream(5, "agent"), Limits(max_steps=12)))
    decisions = [step.decision for step in steps]
    names = ("z", "h", "c")
    features = {name: torch.from_numpy(np.stack([d.features[name] for d in decisions])) for name in names}  # type: ignore[index]
    found = run.batch_controller()(features)
    torch.testing.assert_close(found, torch.from_numpy(np.stack([decision.action for decision in decisions])))
    env.close()


def test_a_run_has_the_settings_of_the_dream_that_its_c_was_evolved_in(toy: ToyRun) -> None:
    assert load_run(toy.run).settings == DreamSettings(horizon=40)  # as the fixture's search
    shutil.rmtree(toy.run / "controller")
    assert load_run(toy.run).settings == DreamSettings()


def test_a_run_without_c_says_so(toy: ToyRun) -> None:
    (toy.run / "controller" / "best.json").unlink()
    for use in (load_run(toy.run).agent, load_run(toy.run).batch_controller):
        with pytest.raises(VmcError, match="has no C"):
            use()


@pytest.mark.parametrize("example", ["custom_environment", "dream", "latent_walk", "ppo_in_the_dream"])
def test_the_examples_run(example: str, toy_session: ToyRun, tmp_path: Path) -> None:
    arguments = {
        "custom_environment": [tmp_path],
        "dream": [toy_session.run],
        "ppo_in_the_dream": [toy_session.run, "--steps", 8192, "--episodes", 2],
    }
    given = arguments.get(example, [toy_session.run, tmp_path / "walk.png"])
    command = [sys.executable, str(EXAMPLES / f"{example}.py"), *map(str, given)]
    shown = subprocess.run(command, check=False, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    last = shown.stdout.splitlines()[-1]
    if example == "custom_environment":  # the point learns to go to its mark
        assert -20 < float(last.split()[2]) < 0, last
    elif example == "dream":
        assert [line.split(": return")[0] for line in shown.stdout.splitlines()] == [
            "C: 64 dreams of 100 steps",
            "no action: 64 dreams of 100 steps",
        ]
    elif example == "ppo_in_the_dream":
        returns = [line for line in shown.stdout.splitlines() if "mean real return" in line]
        assert [line.split()[0] for line in returns] == ["before", "after"]
    else:
        assert (tmp_path / "walk.png").stat().st_size > 0
