"""Dreamer's way to find C: an actor and a critic that learn in dreams (DreamerV3: Hafner et al., 2023).

The actor is C, with noise on its outputs while it learns. The critic says what a state is worth beyond the dream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vmc.control.experience import Experience, imagine
from vmc.control.stochastic_actor import (
    Critic,
    StochasticActor,
    first_parameters,
    lambda_returns,
    optimizer_arrays,
    restore_optimizer,
    to_arrays,
    with_prefix,
)
from vmc.control.trainer import Array, Arrays, Generation
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamWorld
from vmc.envs import ActionMap
from vmc.envs.action_map import OneHotActionMap
from vmc.errors import VmcError
from vmc.models.controller import LinearSettings
from vmc.models.dynamics.contract import WorldModel
from vmc.models.two_hot import two_hot_loss
from vmc.seeding import seeded_initialisation, stream

# The slow critic moves by 2% of the way in each update; the spread of returns by 1%.
_SLOW, _SPREAD_DECAY = 0.02, 0.99
_FIRST_STD = 0.6
_GRADIENT_CLIP = 100.0
# The actor's gradient: from the log-probabilities of what it did, or back through the dream's steps.
REINFORCE, THROUGH_DREAM = GRADIENTS = ("reinforce", "dream")


@dataclass(frozen=True)
class ActorCriticSettings:
    """How the actor and the critic learn.

    Attributes:
        updates: of both, in a generation.
        imagined_dreams: in an update.
        imagined_steps: of a dream.
        discount, trace: gamma and lambda of the returns.
        entropy: its weight in the actor's loss.
        learning_rate: of Adam.
        gradient: of the actor, one of `GRADIENTS`.
        seed: of the first weights and of the dreams.
    """

    updates: int
    imagined_dreams: int
    imagined_steps: int
    discount: float
    trace: float
    entropy: float
    learning_rate: float
    gradient: str
    seed: int


class ActorCritic:
    """A `Trainer`.

    Args:
        dynamics: M, in evaluation mode.
        starts: gives the moments that dreams begin at; it is called with the first update.
        shape: C's.
        dream: temperature and rule of termination; the horizon is `imagined_steps`.
        mean: C's first parameters, (N,); without it, small random ones.
        phase: names the random streams, with the seed.

    Raises:
        VmcError: gradients through the dream for discrete actions.
    """

    def __init__(
        self,
        settings: ActorCriticSettings,
        dynamics: WorldModel,
        starts: Callable[[], DreamStarts],
        shape: LinearSettings,
        action_map: ActionMap,
        dream: DreamSettings,
        mean: Array | None,
        phase: int,
    ) -> None:
        self._through_dream = settings.gradient == THROUGH_DREAM
        if self._through_dream and isinstance(action_map, OneHotActionMap):
            raise VmcError("The gradient of discrete actions cannot go through the dream.", f"Take {REINFORCE}.")
        self._settings, self._world, self._starts = settings, DreamWorld(dynamics, self._through_dream), starts
        self._action_map, self._dream, self._phase = action_map, dream, phase
        device = self._world.device
        with seeded_initialisation(settings.seed):
            critics = Critic(shape.input_size), Critic(shape.input_size)
        self._critic, self._slow = (critic.to(device) for critic in critics)
        self._slow.load_state_dict(self._critic.state_dict())
        self._slow.requires_grad_(False)
        first = first_parameters(shape, stream(settings.seed, "actor-critic/first", phase)) if mean is None else mean
        is_discrete = isinstance(action_map, OneHotActionMap)
        self._actor = StochasticActor(shape, first, 1.0 if is_discrete else _FIRST_STD, is_discrete).to(device)
        self._actor.log_scale.requires_grad_(not is_discrete)
        self._spread = torch.zeros((), device=device)
        self._optimizer = torch.optim.Adam(self._trained(), settings.learning_rate)

    @property
    def parameters(self) -> Array:
        """C without noise."""
        return self._actor.parameters_of_c

    @property
    def episodes_per_generation(self) -> int:
        return self._settings.updates * self._settings.imagined_dreams

    def train(self, generation: int, on_episodes: Callable[[int], None]) -> Generation:
        settings, sums, returns = self._settings, dict[str, float](), []
        for update in range(settings.updates):
            rng = stream(settings.seed, "actor-critic", self._phase, generation, update)
            with torch.set_grad_enabled(self._through_dream):
                state = self._starts().draw_many(settings.imagined_dreams, rng)
                parts = self._actor, self._action_map, state, settings.imagined_steps, rng, self._dream
                dreamed = imagine(self._world, *parts)
            for name, value in self._update(dreamed).items():
                sums[name] = sums.get(name, 0.0) + value / settings.updates
            returns.append(dreamed.returns.detach())
            on_episodes(settings.imagined_dreams)
        found = torch.cat(returns)
        metrics = {"best": found.max().item(), "mean": found.mean().item(), "worst": found.min().item(), **sums}
        return Generation(metrics, settings.updates * settings.imagined_dreams * settings.imagined_steps)

    def _update(self, dreamed: Experience) -> dict[str, float]:
        settings = self._settings
        discounts = settings.discount * dreamed.continues
        values = self._slow.value(dreamed.features)
        returns = lambda_returns(dreamed.rewards, values, discounts, settings.trace)
        # What comes after a termination has not been.
        weights = torch.cat([torch.ones_like(discounts[:1]), discounts[:-1]]).cumprod(dim=0)
        features, known = dreamed.features[:-1].detach(), returns.detach()
        outputs = self._actor(features.flatten(0, 1)).view_as(dreamed.outputs)
        log_probability, entropy = self._actor.likelihood(outputs, dreamed.outputs.detach())
        scale = self._scale(known)
        gain = returns / scale if self._through_dream else (known - values[:-1]) / scale * log_probability
        actor = -(weights * (gain + settings.entropy * entropy)).mean()
        critic = (weights * two_hot_loss(self._critic(features), known, self._critic.bins)).mean()
        self._optimizer.zero_grad(set_to_none=True)
        (actor + critic).backward()
        torch.nn.utils.clip_grad_norm_(self._trained(), _GRADIENT_CLIP)
        self._optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self._slow.parameters(), self._critic.parameters(), strict=True):
                slow.lerp_(fast, _SLOW)
        means = {"actor_loss": actor, "critic_loss": critic, "entropy": entropy.mean(), "value": values.mean()}
        return {name: value.item() for name, value in means.items()}

    def _scale(self, returns: Tensor) -> Tensor:
        """At least 1: the running distance between the 5th and the 95th percentile of the returns (equation 7)."""
        low, high = torch.quantile(returns.flatten()[:: max(returns.numel() // 65_536, 1)], _percentiles(returns))
        self._spread.lerp_(high - low, 1.0 if self._spread == 0 else 1 - _SPREAD_DECAY)
        return self._spread.clamp(min=1.0)

    def _trained(self) -> list[nn.Parameter]:
        return [self._actor.weights, self._actor.log_scale, *self._critic.parameters()]

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        tensors = {"log_std": self._actor.log_scale, "spread": self._spread}
        for prefix, module in (("critic", self._critic), ("slow", self._slow)):
            tensors |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
        # float32 exactly; `parameters` has them as float64.
        return to_arrays({"actor": self._actor.weights, **tensors, **optimizer_arrays(self._optimizer, "adam")}), {}

    def restore(self, arrays: Arrays, values: Mapping[str, Any]) -> None:
        tensors = {name: torch.from_numpy(np.array(array)).to(self._world.device) for name, array in arrays.items()}
        with torch.no_grad():
            self._actor.weights.copy_(tensors["actor"])
            self._actor.log_scale.copy_(tensors["log_std"])
            self._spread.copy_(tensors["spread"])
        for prefix, module in (("critic.", self._critic), ("slow.", self._slow)):
            module.load_state_dict(with_prefix(prefix, tensors))
        restore_optimizer(self._optimizer, tensors, "adam")


def _percentiles(like: Tensor) -> Tensor:
    return torch.tensor([0.05, 0.95], dtype=like.dtype, device=like.device)
