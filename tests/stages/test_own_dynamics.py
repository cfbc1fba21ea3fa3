"""An M from outside the package, named `module:Class`, through every stage and every kind of dream."""

import shutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun, toy_settings
from gymnasium.vector import AutoresetMode
from tiny_dynamics import TinyDynamics

from vmc.dream.loading import load_dream
from vmc.envs import make_env
from vmc.episode import Limits, run_episode
from vmc.errors import VmcError
from vmc.models.agent import load_agent
from vmc.models.checkpoints import dynamics_checkpoint, vae_checkpoint
from vmc.models.loading import load_dynamics
from vmc.seeding import stream
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.export import export_run
from vmc.stages.inspection import inspect_path
from vmc.stages.train_controller import train_controller
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.metrics import read_metrics

KIND = "tiny_dynamics:TinyDynamics"


def _train(data: Path, run: Path, epochs: int = 8) -> dict[str, float]:
    settings = toy_settings("train-mdrnn", dynamics=KIND, epochs=epochs)
    return train_mdrnn(settings, data, run, "cpu")[1]


@pytest.fixture(scope="module")
def own_session(toy_session: ToyRun, tmp_path_factory: pytest.TempPathFactory) -> ToyRun:
    """The toy's V and the other M, trained once. Not to be written to."""
    run = tmp_path_factory.mktemp("own") / "run"
    shutil.copytree(toy_session.run / "vae", run / "vae")
    _train(toy_session.data, run)
    return ToyRun(toy_session.data, run)


@pytest.fixture
def own(own_session: ToyRun, tmp_path: Path) -> ToyRun:
    """A copy of that run, to be written to."""
    shutil.copytree(own_session.run, tmp_path / "run")
    return ToyRun(own_session.data, tmp_path / "run")


def _controller(own: ToyRun, num_workers: int, **values: Any) -> np.ndarray:
    settings = toy_settings("train-controller", generations=2, **values)
    train_controller(settings, own.data, own.run, "cpu", num_workers)
    return load_checkpoint(own.run / "controller", "latest", "").weights["parameters"]


def _scores(own: ToyRun, num_workers: int, **values: Any) -> list[dict[str, Any]]:
    (own.run / "test-episodes.jsonl").unlink(missing_ok=True)  # it would answer in place of the workers
    settings = toy_settings("test", episodes=4, **values)
    result = evaluate_controller(settings, own.data, own.run, "cpu", num_workers)
    return result["episodes"]


def test_it_learns_and_its_checkpoint_says_what_it_is(own_session: ToyRun) -> None:
    losses = [line["val_loss"] for line in read_metrics(own_session.run / "mdrnn")]
    assert min(losses) < losses[0] - 0.1
    model, checkpoint = load_dynamics(own_session.run, vae_checkpoint(own_session.run))
    assert isinstance(model, TinyDynamics)
    assert checkpoint.info["kind"] == KIND
    assert checkpoint.info["features"] == {"z": 8, "h": 7}
    assert checkpoint.info["model"] == {"latent_size": 8, "action_size": 1}
    assert set(checkpoint.graphs) == {"initial", "observe"}


def test_training_goes_on_where_it_was_stopped(own_session: ToyRun, tmp_path: Path) -> None:
    """Stopped after three epochs or not: the same weights."""
    run = tmp_path / "run"
    shutil.copytree(own_session.run, run, ignore=shutil.ignore_patterns("mdrnn"))
    _train(own_session.data, run, epochs=3)
    report = _train(own_session.data, run)
    whole, resumed = (dynamics_checkpoint(each, vae_checkpoint(each)) for each in (own_session.run, run))
    assert {"nll_per_dimension", "reward_explained_variance"} <= report.keys()
    assert resumed.sha256 == whole.sha256
    assert resumed.graphs == whole.graphs


@pytest.mark.parametrize("dream", [True, False], ids=["dream", "real"])
def test_a_controller_is_found_and_tested_alike_on_any_number_of_workers(own: ToyRun, dream: bool) -> None:
    here = _controller(own, 0, dream=dream)
    scores = [_scores(own, 0), _scores(own, 2)]
    dreamed = [_scores(own, 0, dream=True), _scores(own, 2, dream=True)]
    assert scores[0] == scores[1]
    assert dreamed[0] == dreamed[1] != scores[0]
    shutil.rmtree(own.run / "controller")
    np.testing.assert_array_equal(_controller(own, 2, dream=dream), here)


def test_the_agents_features_are_those_of_the_model_in_torch(own: ToyRun) -> None:
    """Over a whole episode of the real environment."""
    _controller(own, 0)
    agent, (model, _) = load_agent(own.run, TOY), load_dynamics(own.run, vae_checkpoint(own.run))
    decisions = []
    act = agent.act
    agent.act = lambda frame: (decisions.append(act(frame)), decisions[-1])[1]  # type: ignore[method-assign]
    env = make_env(TOY)
    run_episode(env, agent, 3, stream(3, "agent"), Limits())
    env.close()
    state = model.initial(torch.from_numpy(decisions[0].latent)[None])
    for before, after in zip(decisions, [*decisions[1:], None], strict=True):
        for name, expected in model.features(state).items():
            np.testing.assert_allclose(before.features[name], expected[0], atol=1e-5, rtol=1e-5)
        if after is not None:
            state = model.observe(state, *(torch.from_numpy(part)[None] for part in (before.action, after.latent)))


def test_a_copy_with_half_the_bits_is_inspected_and_driven(own: ToyRun, tmp_path: Path) -> None:
    _controller(own, 0)
    export_run(own.run, tmp_path / "copy")
    assert any(KIND in line for line in inspect_path(tmp_path / "copy"))
    (copied, whole) = (_scores(ToyRun(own.data, run), 0) for run in (tmp_path / "copy", own.run))
    for found, expected in zip(copied, whole, strict=True):
        assert found["episode_return"] == pytest.approx(expected["episode_return"], abs=2)


def test_a_controller_cannot_read_a_feature_that_this_m_does_not_have(own: ToyRun) -> None:
    with pytest.raises(VmcError, match=r"M in .* \(tiny_dynamics:TinyDynamics\) has no feature 'c'"):
        _controller(own, 0, inputs="zch")
    assert not (own.run / "controller").exists()


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_its_dream_is_gymnasiums_environment(own_session: ToyRun, mode: AutoresetMode) -> None:
    """A vector of dreams is the single ones side by side, over ends and resets."""
    options: dict[str, Any] = {"run": own_session.run, "observations": "features", "max_episode_steps": 5}
    ours = gymnasium.make_vec("vmc/Dream-v0", 3, **options, autoreset_mode=mode)
    theirs = gymnasium.make_vec("vmc/Dream-v0", 3, "sync", vector_kwargs={"autoreset_mode": mode}, **options)
    assert ours.single_observation_space.shape == (8 + 7,)
    np.testing.assert_allclose(ours.reset(seed=7)[0], theirs.reset(seed=7)[0], atol=1e-5)
    actions = np.random.default_rng(0).uniform(-1, 1, (14, 3, 1)).astype(np.float32)
    for row in actions:
        for found, expected in zip(ours.step(row)[:4], theirs.step(row)[:4], strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


def test_its_dream_is_torchrls_environment(own_session: ToyRun) -> None:
    pytest.importorskip("torchrl")
    from torchrl.envs.utils import check_env_specs

    from vmc.dream.torchrl_env import DreamLatentEnv

    env = DreamLatentEnv(load_dream(own_session.run), 3)
    env.set_seed(0)
    check_env_specs(env, break_when_any_done="both")
    rollout = env.rollout(6, break_when_any_done=False)
    assert rollout["state_1"].shape == (3, 6, 2, 3)
    going = ~rollout["next", "done"][:, :-1, 0]
    steps = rollout["state_2"][..., 0]
    assert (steps[:, 1:] == steps[:, :-1] + 1)[going].all()
