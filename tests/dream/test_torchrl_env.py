"""The dream for TorchRL."""

import numpy as np
import pytest
import torch
from small_dream import END, GO, H, Z, make_dream

from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld
from vmc.envs.action_map import OneHotActionMap
from vmc.models.dynamics.noise import Noise
from vmc.models.dynamics.state import State

pytest.importorskip("torchrl")

from tensordict import TensorDict
from torchrl.envs import StepCounter, TransformedEnv
from torchrl.envs.utils import check_env_specs
from torchrl.modules import WorldModel

from vmc.dream.torchrl_env import DreamLatentEnv, DreamModel, state_keys

# The parts of the LSTM's state: z, h and c.
PARTS = ["state_0", "state_1", "state_2"]
STATE = ["latent", *PARTS]


def _env(num_dreams: int = 3) -> DreamLatentEnv:
    env = DreamLatentEnv(make_dream(), num_dreams)
    env.set_seed(0)
    return env


def _start(env: DreamLatentEnv, *actions: list[float]) -> TensorDict:
    return env.reset().set("action", torch.tensor(actions))


@pytest.mark.parametrize("num_dreams", [1, 3])
def test_it_passes_torchrls_checker(num_dreams: int) -> None:
    env = _env(num_dreams)
    check_env_specs(env, break_when_any_done="both")
    check_env_specs(TransformedEnv(env, StepCounter(2)), break_when_any_done="both")
    assert env.action_spec.shape == (num_dreams, 2)
    assert env.action_spec.space.low.unique().tolist() == [-1]


def test_a_step_is_the_worlds() -> None:
    """With a spread of e^-7 the noise is next to nothing: TorchRL's step and the world's must meet."""
    dream = make_dream()
    fields = dream.dynamics.mixture.bias.view(3, Z, -1)
    dream.dynamics.mixture.weight.zero_()
    fields[0], fields[2] = torch.tensor([50.0, 0, 0, 0, 0]), -50.0
    env = DreamLatentEnv(dream, 2)
    before = env.reset().set("action", torch.tensor([[3.0, -0.5], END]))  # the first is clipped to 1
    after = env.step(before.clone())["next"]
    actions = torch.tensor([[1.0, -0.5], END])
    noise = Noise(torch.rand(2, Z), torch.zeros(2, Z), torch.rand(2))
    state = State(before[key] for key in PARTS)
    step = DreamWorld(dream.dynamics).step(state, actions, noise)
    torch.testing.assert_close(after["latent"], step.state[0], atol=0.01, rtol=0)
    torch.testing.assert_close(tuple(after[key] for key in PARTS[1:]), tuple(step.state[1:]))
    assert torch.equal(after["latent"], after["state_0"])
    torch.testing.assert_close(after["features"], torch.cat([after[key] for key in PARTS], dim=1))
    torch.testing.assert_close(after["reward"][:, 0], step.rewards)
    for flag in ("terminated", "done"):
        assert after[flag].tolist() == [[False], [True]]


def test_rollouts_carry_the_state_and_reset_it() -> None:
    """The states that follow in a rollout are the ones that the step before gave, but where it ended."""
    rollout = _env().rollout(30, break_when_any_done=False)
    assert rollout["state_1"].shape == (3, 30, H)
    done = rollout["next", "done"][:, :-1, 0]
    assert done.any()
    for key in STATE:
        carried, given = rollout[key][:, 1:], rollout["next", key][:, :-1]
        np.testing.assert_array_equal(carried[~done], given[~done])
        assert (carried[done] != given[done]).any(dim=1).all()


def test_a_reset_of_one_dream_leaves_its_neighbours() -> None:
    env = _env(2)
    stepped, following = env.step_and_maybe_reset(_start(env, GO, END))
    for key in STATE:
        assert torch.equal(following[key][0], stepped["next", key][0])
        assert not torch.equal(following[key][1], stepped["next", key][1])
    assert following["done"].tolist() == [[False], [False]]


def test_a_seed_is_a_rollout() -> None:
    env = _env()
    rollouts = []
    for seed in (4, 4, 5):
        env.set_seed(seed)
        state = _start(env, GO, GO, GO)
        for _ in range(5):
            state = env.step_mdp(env.step(state)).set("action", torch.tensor([GO] * 3))
        rollouts.append(state["latent"])
    assert torch.equal(rollouts[0], rollouts[1])
    assert not torch.equal(rollouts[0], rollouts[2])


def test_discrete_actions_are_one_hot() -> None:
    env = DreamLatentEnv(make_dream(action_map=OneHotActionMap(2)), 3)
    check_env_specs(env, break_when_any_done="both")
    assert env.rand_action(env.reset())["action"].sum(dim=1).tolist() == [1, 1, 1]
    states = []
    for action in ([0.0, 1.0], [-3.0, 0.5]):  # the largest counts
        env.set_seed(0)
        states.append(env.step(_start(env, action, action, action))["next", "state_1"])
    assert torch.equal(*states)


def test_the_model_is_torchrls_and_steps_any_shape_and_knows_pictures() -> None:
    dream = make_dream()
    model = DreamModel(dream, DreamSettings())
    assert isinstance(model, WorldModel)
    assert state_keys(dream.dynamics) == PARTS
    state = {"latent": torch.randn(2, 5, Z), "state_0": torch.zeros(2, 5, Z)}
    state |= {key: torch.zeros(2, 5, H) for key in PARTS[1:]}
    dreamed = model.step(TensorDict({**state, "action": torch.zeros(2, 5, 2)}, [2, 5]))["next"]
    assert dreamed["reward"].shape == (2, 5, 1)
    assert dreamed["latent"].shape == (2, 5, Z)
    pictures = model.decode(dreamed)
    assert pictures["pixels"].shape == (2, 5, 64, 64, 3)
    assert pictures["pixels"].dtype == torch.uint8
    assert model.encode(pictures)["latent"].shape == (2, 5, Z)
    whole = model(TensorDict({"pixels": pictures["pixels"], **state, "action": torch.zeros(2, 5, 2)}, [2, 5]))
    assert whole["next", "latent"].shape == (2, 5, Z)


def test_the_latent_counts_where_it_differs_from_the_state() -> None:
    """So that the latent that `encode` gives takes the place of the one in the state."""
    model = DreamModel(make_dream(), DreamSettings())
    latent = torch.randn(1, Z)
    memory = {key: torch.randn(1, H) for key in PARTS[1:]}
    found = []
    for inside in (latent, torch.randn(1, Z)):
        model.seed(0)
        before = TensorDict({"latent": latent, "state_0": inside, **memory, "action": torch.zeros(1, 2)}, [1])
        found.append(model.step(before)["next", "latent"])
    assert torch.equal(*found)
