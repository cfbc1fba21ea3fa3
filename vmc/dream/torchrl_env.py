"""The dream for TorchRL: V and M as a TensorDict module, and an environment that rolls out in latent space.

Needs the extra `torchrl`. The tensordict carries M's state (`state_0`, `state_1` ...), so a rollout can start at any
recorded or imagined moment. Nothing here is differentiated: M is a simulator.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import TensorDictModule, TensorDictModuleBase
from torch import Tensor, nn
from torchrl.data import Binary, Bounded, Composite, Unbounded
from torchrl.data import OneHot as OneHotSpec
from torchrl.envs import ModelBasedEnvBase
from torchrl.modules import WorldModel

from vmc.dream.env import with_given
from vmc.dream.loading import TrainedDream, load_dream
from vmc.dream.observations import check_pictures
from vmc.dream.settings import DreamSettings
from vmc.dream.world import DreamWorld
from vmc.envs.action_map import OneHotActionMap
from vmc.envs.actions import OneHot
from vmc.models.chunks import decode_frames
from vmc.models.dynamics.contract import WorldModel as Dynamics
from vmc.models.dynamics.noise import Noise, NoiseSizes
from vmc.models.dynamics.state import State
from vmc.seeding import stream, torch_stream

LATENT, FEATURES = "latent", "features"


def state_keys(dynamics: Dynamics) -> list[str]:
    """The keys of the parts of M's state."""
    return [f"state_{number}" for number in range(len(_example(dynamics)))]


def _example(dynamics: Dynamics) -> State:
    return dynamics.initial(dynamics.latent_mask.new_zeros(1, dynamics.settings.latent_size, dtype=torch.float32))


def _named(dynamics: Dynamics, state: State) -> dict[str, Tensor]:
    """A state as a tensordict has it: the latent, all features side by side, and the state's parts."""
    features = torch.cat(list(dynamics.features(state).values()), dim=-1)
    parts = dict(zip(state_keys(dynamics), state, strict=True))
    return {LATENT: dynamics.latents(state), FEATURES: features, **parts}


class _Transition(TensorDictModuleBase):  # type: ignore[misc]
    """One step of the dream from (latent, state, action), of any leading shape, to what comes `next`."""

    def __init__(self, dream: TrainedDream, settings: DreamSettings) -> None:
        super().__init__()
        self._dynamics, self._settings = dream.dynamics, settings
        self._world = DreamWorld(dream.dynamics)
        self._space = dream.action_space
        self._place = dream.starts.means.device
        self._state_keys = state_keys(dream.dynamics)
        self.in_keys = [LATENT, *self._state_keys, "action"]
        # `done` too: TorchRL would keep the one of the step before.
        keys = (LATENT, FEATURES, *self._state_keys, "reward", "terminated", "done")
        self.out_keys = [("next", key) for key in keys]
        self.seed(int(np.random.SeedSequence().generate_state(1)[0]))

    def seed(self, seed: int) -> None:
        """Seeds all noise from now on."""
        self._generator = torch_stream(seed, "dream/torchrl", device=str(self._place))

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        batch = tensordict.batch_size
        latents, *parts, actions = (tensordict.get(key).flatten(0, len(batch) - 1) for key in self.in_keys)
        state = self._dynamics.with_latents(State(parts), latents)
        noise = self._noise(len(latents), self._world.noise_sizes)
        step = self._world.step(state, self._possible(actions), noise, self._settings)
        flags = {"reward": step.rewards, "terminated": step.terminated, "done": step.terminated}
        named = _named(self._dynamics, step.state) | {name: values[:, None] for name, values in flags.items()}
        for name, values in named.items():
            tensordict.set(("next", name), values.unflatten(0, batch))
        return tensordict

    def _possible(self, actions: Tensor) -> Tensor:
        """Actions as M has seen them: within the real Box, or the largest as a one-hot vector."""
        if isinstance(self._space, OneHot):
            return OneHotActionMap(actions.shape[-1]).torch(actions.float())
        low, high = (actions.new_tensor(bound) for bound in (self._space.low, self._space.high))
        return actions.clamp(low, high)

    def _noise(self, count: int, sizes: NoiseSizes) -> Noise:
        uniform, normal = (torch.empty(count, size, device=self._place) for size in sizes)
        termination = torch.empty(count, device=self._place)
        return Noise(
            uniform.uniform_(generator=self._generator),
            normal.normal_(generator=self._generator),
            termination.uniform_(generator=self._generator),
        )


class DreamModel(WorldModel):  # type: ignore[misc]
    """V and M as TorchRL's `WorldModel`: `encode` and `decode` between pixels and latent, `step` to what is `next`.

    Args:
        settings: the horizon is TorchRL's own affair (`StepCounter`).
    """

    def __init__(self, dream: TrainedDream, settings: DreamSettings) -> None:
        # M's heads are one product with the mixture's, so the transition writes them, and TorchRL's pass them on.
        transition = _Transition(dream, settings)
        reward, done = (TensorDictModule(nn.Identity(), [key], [key]) for key in (("next", "reward"), ("next", "done")))
        encoder = TensorDictModule(partial(_encoded, dream), ["pixels"], ["latent"])
        super().__init__(encoder, transition, reward, done_head=done)
        # Not handed over: `step` would draw every picture.
        self.decoder = TensorDictModule(partial(_pictures, dream), ["latent"], ["pixels"])
        self.seed = transition.seed


@torch.no_grad()
def _encoded(dream: TrainedDream, frames: Tensor) -> Tensor:
    """uint8 (..., 64, 64, 3) to V's mean, (..., Z)."""
    check_pictures(dream.vae)
    means, _ = dream.vae.encode(dream.vae.to_input(frames.flatten(0, -4)))
    return means.reshape(*frames.shape[:-3], -1)


@torch.no_grad()
def _pictures(dream: TrainedDream, latents: Tensor) -> Tensor:
    """(..., Z) to uint8 (..., 64, 64, 3)."""
    check_pictures(dream.vae)
    return decode_frames(dream.vae, latents)


class DreamLatentEnv(ModelBasedEnvBase):  # type: ignore[misc]
    """N dreams in latent space, with the real action space.

    An observation is `latent` (z), `features` (z and M's memory side by side) and M's state. Dreams begin at recorded
    moments, and terminate by M's probability; a time limit is `StepCounter`'s. `world_model.decode` makes pictures.

    Args:
        run: a run's folder with V and M, or a dream that is loaded already.
        num_dreams: N, the batch size.
        temperature, sample_termination: as for `DreamEnv`.
        device: where V and M run, when `run` is a folder.

    Raises:
        VmcError: a setting that is out of bounds; a run that cannot be dreamed.
    """

    def __init__(
        self,
        run: str | Path | TrainedDream,
        num_dreams: int,
        *,
        temperature: float | None = None,
        sample_termination: bool | None = None,
        device: str = "cpu",
    ) -> None:
        dream = run if isinstance(run, TrainedDream) else load_dream(Path(run), device)
        settings = with_given(dream.settings, temperature=temperature, sample_termination=sample_termination)
        batch = torch.Size([num_dreams])
        super().__init__(DreamModel(dream, settings), device=dream.starts.means.device, batch_size=batch)
        self._starts, self._dynamics = dream.starts, dream.dynamics
        self._start_rng = np.random.default_rng()
        space, example = dream.action_space, _named(dream.dynamics, _example(dream.dynamics))
        self.observation_spec = self._spec({k: Unbounded((*batch, *v.shape[1:])) for k, v in example.items()})
        self.state_spec = self.observation_spec.clone()
        low, high = (torch.from_numpy(bound).expand(*batch, -1) for bound in (space.low, space.high))
        bounded = Bounded(low, high, (*batch, *space.shape))
        one_hot = OneHotSpec(space.shape[0], (*batch, *space.shape), dtype=torch.float32)
        self.action_spec = self._spec({"action": one_hot if isinstance(space, OneHot) else bounded})
        self.reward_spec = self._spec({"reward": Unbounded((*batch, 1))})
        flag = Binary(1, (*batch, 1), dtype=torch.bool)
        self.done_spec = self._spec({"done": flag, "terminated": flag.clone()})

    def _spec(self, leaves: dict[str, Any]) -> Composite:
        return Composite(leaves, shape=self.batch_size).to(self.device)

    def _reset(self, tensordict: TensorDictBase | None, **kwargs: Any) -> TensorDictBase:
        """Recorded moments for all; of a partial reset TorchRL itself keeps the rows that it asked for."""
        state = self._starts.draw([self._start_rng] * self.batch_size.numel())
        return TensorDict(_named(self._dynamics, state), self.batch_size, device=self.device)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Steps in latent space; the whole model would encode a picture first."""
        return self.world_model.step(tensordict.copy())["next"]

    def _set_seed(self, seed: int | None) -> None:
        if seed is not None:
            self._start_rng = stream(seed, "dream/start")
            self.world_model.seed(seed)
