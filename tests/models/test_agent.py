import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun

from vmc.envs import FRAME_SHAPE, BoxActionMap
from vmc.episode import Decision
from vmc.models.agent import Agent, CandidatePolicy, load_agent, load_body, step_size_of
from vmc.models.checkpoints import TRAIN_CONTROLLER, controller_folder, load_controller
from vmc.models.controller import LinearController, LinearSettings
from vmc.models.dynamics import StepModel
from vmc.models.dynamics.lstm import LSTM
from vmc.models.dynamics.lstm_step import LSTMStep
from vmc.models.loading import arrays_of, vision_graphs
from vmc.models.vision.conv import ConvVAE, to_input
from vmc.models.vision.encoder import Encoder
from vmc.storage.checkpoint import Checkpoint, load_checkpoint
from vmc.storage.rollouts import FrameKind

ACTION_MAP = BoxActionMap.from_bounds([-1, -1, -1], [1, 1, 1])
SHAPE = LinearSettings("zh", 32 + 256, 3)


def _models() -> tuple[ConvVAE, LSTM]:
    torch.manual_seed(0)
    vae, dynamics = ConvVAE(), LSTM(LSTM.Settings(32, 3))
    return vae.eval().requires_grad_(False), dynamics.eval().requires_grad_(False)


def _encoder(vae: ConvVAE) -> Encoder:
    graphs = vision_graphs(vae, FrameKind(FRAME_SHAPE, "uint8"))
    return Encoder(Checkpoint(Path("x"), {}, arrays_of(vae), {}, "", graphs))


def _step(dynamics: LSTM) -> StepModel:
    return LSTMStep(arrays_of(dynamics), {})


def _frames(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def _assert_same(found: list[Decision], expected: list[Decision]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.action, theirs.action)
        np.testing.assert_array_equal(ours.latent, theirs.latent)
        np.testing.assert_array_equal(ours.outputs, theirs.outputs)


@pytest.mark.parametrize("sample_latents", [False, True])
def test_the_controller_reads_the_memory_from_before_this_frame(sample_latents: bool) -> None:
    """The agent, step by step, equals the paper's Listing 1 written out in PyTorch."""
    vae, dynamics = _models()
    controller = LinearController(SHAPE, np.random.default_rng(2).standard_normal(867) * 0.3)
    agent = Agent(_encoder(vae), _step(dynamics), ACTION_MAP, sample_latents)
    agent.use(controller)
    agent.reset(np.random.default_rng(3))
    draws = np.random.default_rng(3)
    h = c = torch.zeros(1, 256)
    for frame in _frames(6):
        mean, log_variance = vae.encode(to_input(torch.from_numpy(frame[None])))
        z = mean[0].numpy()
        if sample_latents:
            z = z + np.exp(0.5 * log_variance[0].numpy()) * draws.standard_normal(32, np.float32)
        outputs = controller.act({"z": z, "h": h[0].numpy()})
        action = ACTION_MAP(outputs)
        decision = agent.act(frame)
        np.testing.assert_allclose(decision.action, action, atol=1e-5)
        np.testing.assert_allclose(decision.outputs, outputs, atol=1e-5)
        np.testing.assert_allclose(decision.latent, z, atol=1e-5)
        for name, expected in (("z", z), ("h", h[0]), ("c", c[0])):
            np.testing.assert_allclose(decision.features[name], expected, atol=1e-5)
        h, c = dynamics.step(torch.from_numpy(np.concatenate([z, action]))[None], (h, c))


def test_m_sees_the_action_that_was_applied_noise_included(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, dynamics = _models()
    seen = []
    step = _step(dynamics)
    observe = step.observe
    monkeypatch.setattr(step, "observe", lambda state, action, z: (seen.append(action), observe(state, action, z))[1])
    agent = Agent(_encoder(vae), step, ACTION_MAP, sample_latents=False, action_noise=1.0)
    agent.use(LinearController(SHAPE, np.zeros(867)))
    agent.reset(np.random.default_rng(0))
    decisions = [agent.act(frame) for frame in _frames(5)]
    applied = [decision.action for decision in decisions]
    np.testing.assert_array_equal(applied[:-1], seen)  # the last one is seen with the frame that follows it
    assert np.std(applied) > 0.1  # zero weights and no noise would give zeros
    assert not any(decision.outputs.any() for decision in decisions)  # C's own, before the noise


def test_episodes_do_not_depend_on_those_before(toy_session: ToyRun) -> None:
    agent = load_agent(toy_session.run, TOY)
    agent.reset(np.random.default_rng(0))
    first = [agent.act(frame) for frame in _frames(4)]
    agent.reset(np.random.default_rng(9))
    agent.act(_frames(1)[0])
    agent.reset(np.random.default_rng(0))
    _assert_same([agent.act(frame) for frame in _frames(4)], first)


def test_an_agent_knows_the_models_that_it_was_made_from(toy_session: ToyRun) -> None:
    folders = {"vae": "vae", "dynamics": "mdrnn", "controller": "controller"}
    expected = {name: load_checkpoint(toy_session.run / folder, "best", "").sha256 for name, folder in folders.items()}
    assert load_agent(toy_session.run, TOY).source == expected


def test_candidates_are_drawn_as_the_search_draws_them(toy_session: ToyRun) -> None:
    """A new one for each episode, around the latest mean, as far away as the step size says."""
    latest = load_checkpoint(controller_folder(toy_session.run), "latest", TRAIN_CONTROLLER)
    mean, step_size = latest.weights["parameters"], latest.info["trainer"]["attributes"]["sigma"]
    body = load_body(toy_session.run, TOY)
    stored = load_controller(toy_session.run, body.vae, body.dynamics, "latest")
    assert step_size_of(toy_session.run) == step_size
    candidates, agent = CandidatePolicy(body, stored, step_size), load_agent(toy_session.run, TOY, name="latest")
    shape = LinearSettings(**latest.info["model"])
    for episode in (0, 1):
        candidates.reset(np.random.default_rng(episode))
        rng = np.random.default_rng(episode)
        agent.use(LinearController(shape, mean + step_size * rng.standard_normal(len(mean))))
        agent.reset(rng)
        _assert_same(*([policy.act(frame) for frame in _frames(4)] for policy in (candidates, agent)))


def test_an_agent_in_an_episode_imports_no_torch() -> None:
    modules = "vmc.models.agent, vmc.control.real_fitness, vmc.models.dynamics.exported, vmc.models.dynamics.lstm_step"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_loading_an_agent_and_acting_import_no_torch(toy_session: ToyRun) -> None:
    code = f"""
import sys
from pathlib import Path
import numpy as np
from vmc.models.agent import load_agent
agent = load_agent(Path({str(toy_session.run)!r}), {TOY!r})
agent.reset(np.random.default_rng(0))
agent.act(np.zeros((64, 64, 3), np.uint8))
sys.exit('torch' in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
