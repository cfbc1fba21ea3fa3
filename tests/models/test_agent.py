import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun

from vmc.envs import BoxActionMap
from vmc.models.agent import Agent, Memory, load_agent, load_candidates
from vmc.models.checkpoints import TRAIN_CONTROLLER, controller_folder
from vmc.models.controller import Controller, ControllerSettings
from vmc.models.dynamics import MDNRNN
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.models.loading import load_vae
from vmc.models.vae import ConvVAE, to_input
from vmc.models.vision import Vision
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.rollouts import RolloutDataset

ACTION_MAP = BoxActionMap.from_bounds([-1, -1, -1], [1, 1, 1])


def _models() -> tuple[ConvVAE, MDNRNN]:
    torch.manual_seed(0)
    return ConvVAE().eval(), MDNRNN(DynamicsSettings(32, 3)).eval()


def _arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def _frames(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def test_memory_equals_torch() -> None:
    _, dynamics = _models()
    rng = np.random.default_rng(1)
    memory = Memory(dynamics.settings, _arrays(dynamics))
    memory.reset()
    hidden = dynamics.initial_hidden(1)
    for _ in range(50):
        latent, action = rng.standard_normal(32, np.float32), rng.standard_normal(3, np.float32)
        memory.step(latent, action)
        with torch.no_grad():
            hidden = dynamics.step(torch.from_numpy(latent)[None], torch.from_numpy(action)[None], hidden)
        np.testing.assert_allclose(memory.h, hidden.h[0], atol=1e-5)


@pytest.mark.parametrize("sample_latents", [False, True])
def test_the_controller_sees_the_state_from_before_this_frame(sample_latents: bool) -> None:
    """The agent, step by step, equals the paper's Listing 1 written out in PyTorch."""
    vae, dynamics = _models()
    settings = ControllerSettings(32, 256, 3)
    parameters = np.random.default_rng(2).standard_normal(867) * 0.3
    agent = Agent(Vision(_arrays(vae)), Memory(dynamics.settings, _arrays(dynamics)), ACTION_MAP, sample_latents)
    agent.use(Controller(settings, parameters))
    agent.reset(np.random.default_rng(3))
    draws = np.random.default_rng(3)
    controller = Controller(settings, parameters)
    hidden = dynamics.initial_hidden(1)
    for frame in _frames(6):
        with torch.no_grad():
            mean, log_variance = vae.encode(to_input(torch.from_numpy(frame[None])))
            z = mean[0].numpy()
            if sample_latents:
                z = z + np.exp(0.5 * log_variance[0].numpy()) * draws.standard_normal(32, np.float32)
            action = ACTION_MAP(controller(z, hidden.h[0].numpy(), hidden.c[0].numpy()))
            hidden = dynamics.step(torch.from_numpy(z)[None], torch.from_numpy(action)[None], hidden)
        np.testing.assert_allclose(agent.act(frame), action, atol=1e-5)


def test_memory_sees_the_action_that_was_applied_noise_included() -> None:
    vae, dynamics = _models()
    seen = []
    memory = Memory(dynamics.settings, _arrays(dynamics))
    step = memory.step
    memory.step = lambda latent, action: (seen.append(action), step(latent, action))[1]  # type: ignore[method-assign]
    agent = Agent(Vision(_arrays(vae)), memory, ACTION_MAP, sample_latents=False, noise=1.0)
    agent.use(Controller(ControllerSettings(32, 256, 3), np.zeros(867)))
    agent.reset(np.random.default_rng(0))
    applied = [agent.act(frame) for frame in _frames(5)]
    np.testing.assert_array_equal(applied, seen)
    assert np.std(applied) > 0.1  # zero weights and no noise would give zeros


def test_episodes_do_not_depend_on_those_before(toy_session: ToyRun) -> None:
    agent = load_agent(toy_session.run, TOY)
    agent.reset(np.random.default_rng(0))
    first = [agent.act(frame) for frame in _frames(4)]
    agent.reset(np.random.default_rng(9))
    agent.act(_frames(1)[0])
    agent.reset(np.random.default_rng(0))
    np.testing.assert_array_equal(first, [agent.act(frame) for frame in _frames(4)])


def test_candidates_are_drawn_as_the_search_draws_them(toy_session: ToyRun) -> None:
    """A new one for each episode, around the latest mean, as far away as the step size says."""
    latest = load_checkpoint(controller_folder(toy_session.run), "latest", TRAIN_CONTROLLER)
    mean, step_size = latest.weights["parameters"], latest.info["search"]["attributes"]["sigma"]
    candidates, agent = load_candidates(toy_session.run, TOY), load_agent(toy_session.run, TOY, name="latest")
    shape = ControllerSettings(**latest.info["model"])
    for episode in (0, 1):
        candidates.reset(np.random.default_rng(episode))
        rng = np.random.default_rng(episode)
        agent.use(Controller(shape, mean + step_size * rng.standard_normal(len(mean))))
        agent.reset(rng)
        for frame in _frames(4):
            np.testing.assert_array_equal(candidates.act(frame), agent.act(frame))


def test_vision_equals_torch() -> None:
    vae, _ = _models()
    vision = Vision(_arrays(vae))
    for frame in [*_frames(3), np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 255, np.uint8)]:
        with torch.no_grad():
            expected = vae.encode(to_input(torch.from_numpy(frame[None])))
        for found, tensor in zip(vision.encode(frame), expected, strict=True):
            np.testing.assert_allclose(found, tensor[0], atol=1e-5)


def test_trained_models_agree_with_torch_too(toy_session: ToyRun) -> None:
    """Trained weights are larger than fresh ones."""
    vae, checkpoint = load_vae(toy_session.run)
    frames = RolloutDataset(toy_session.data).frames(RolloutDataset(toy_session.data).episodes[0])
    vision = Vision(checkpoint.weights)
    with torch.no_grad():
        mean, log_variance = vae.encode(to_input(torch.from_numpy(frames)))
    found = [vision.encode(frame) for frame in frames]
    np.testing.assert_allclose([m for m, _ in found], mean, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose([v for _, v in found], log_variance, atol=1e-5, rtol=1e-5)


def test_driving_imports_no_torch() -> None:
    code = "import sys, vmc.models.agent, vmc.control.real_fitness; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
