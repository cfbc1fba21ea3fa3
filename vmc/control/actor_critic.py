"""Dreamer's way to find C: an actor and a critic that learn in dreams (DreamerV3: Hafner et al., 2023).

The actor is C, with noise on its outputs while it learns. The critic says what a state is worth beyond the dream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vmc.control.trainer import Array, Arrays, Generation
from vmc.dream.settings import DreamSettings
from vmc.dream.starts import DreamStarts
from vmc.dream.world import DreamWorld
from vmc.envs import ActionMap
from vmc.envs.action_map import OneHotActionMap
from vmc.errors import VmcError
from vmc.models.controller import LinearSettings, population_outputs
from vmc.models.dynamics.contract import Features, WorldModel
from vmc.models.dynamics.noise import draw_batch_noise
from vmc.models.two_hot import SYMEXP_BINS, expected_value, two_hot_loss
from vmc.seeding import seeded_initialisation, stream

_CRITIC_UNITS = 128
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


class Dreamed(NamedTuple):
    """Dreams of T steps, B side by side.

    Attributes:
        features: C's inputs at each frame, (T + 1, B, I).
        outputs: the actor's noisy outputs, (T, B, A).
        rewards: (T, B), in the environment's units.
        continues: 0 where the step has terminated the dream, else 1, (T, B).
    """

    features: Tensor
    outputs: Tensor
    rewards: Tensor
    continues: Tensor


def lambda_returns(rewards: Tensor, values: Tensor, discounts: Tensor, trace: float) -> Tensor:
    """R_t = r_t + d_t ((1 - lambda) v_{t+1} + lambda R_{t+1}), and R_T = v_T.

    Args:
        rewards, discounts: (T, ...); a discount is 0 where the step terminates.
        values: of all frames, (T + 1, ...).
        trace: lambda.

    Returns:
        (T, ...).
    """
    following, returns = values[-1], []
    for t in reversed(range(len(rewards))):
        following = rewards[t] + discounts[t] * ((1 - trace) * values[t + 1] + trace * following)
        returns.append(following)
    return torch.stack(returns[::-1])


class _Critic(nn.Module):
    """Features to the logits of the bins; it begins with a value of 0 everywhere."""

    bins: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(inputs, _CRITIC_UNITS), nn.LayerNorm(_CRITIC_UNITS), nn.SiLU())
        self.head = nn.Linear(_CRITIC_UNITS, len(SYMEXP_BINS))
        self.register_buffer("bins", SYMEXP_BINS, persistent=False)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor) -> Tensor:
        return self.head(self.hidden(features))  # type: ignore[no-any-return]

    def value(self, features: Tensor) -> Tensor:
        """The expected return, in the environment's units."""
        return expected_value(self(features), self.bins)


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
        self._shape, self._action_map, self._dream, self._phase = shape, action_map, dream, phase
        device = self._world.device
        with seeded_initialisation(settings.seed):
            critics = _Critic(shape.input_size), _Critic(shape.input_size)
        self._critic, self._slow = (critic.to(device) for critic in critics)
        self._slow.load_state_dict(self._critic.state_dict())
        self._slow.requires_grad_(False)
        first = _first_parameters(shape, stream(settings.seed, "actor-critic/first", phase)) if mean is None else mean
        self._actor = nn.Parameter(torch.from_numpy(np.asarray(first, np.float32)).to(device))
        self._log_std = nn.Parameter(torch.full((shape.action_size,), float(np.log(_FIRST_STD)), device=device))
        self._spread = torch.zeros((), device=device)
        self._optimizer = torch.optim.Adam(self._trained(), settings.learning_rate)

    @property
    def parameters(self) -> Array:
        """C without noise."""
        return self._actor.detach().cpu().numpy().astype(np.float64)

    @property
    def episodes_per_generation(self) -> int:
        return self._settings.updates * self._settings.imagined_dreams

    def train(self, generation: int, on_episodes: Callable[[int], None]) -> Generation:
        settings, sums, returns = self._settings, dict[str, float](), []
        for update in range(settings.updates):
            rng = stream(settings.seed, "actor-critic", self._phase, generation, update)
            with torch.set_grad_enabled(self._through_dream):
                dreamed = self._imagine(rng)
            for name, value in self._update(dreamed).items():
                sums[name] = sums.get(name, 0.0) + value / settings.updates
            returns.append(_returns_of(dreamed).detach())
            on_episodes(settings.imagined_dreams)
        found = torch.cat(returns)
        metrics = {"best": found.max().item(), "mean": found.mean().item(), "worst": found.min().item(), **sums}
        return Generation(metrics, settings.updates * settings.imagined_dreams * settings.imagined_steps)

    def _imagine(self, rng: np.random.Generator) -> Dreamed:
        settings, device = self._settings, self._world.device
        state = self._starts().draw_many(settings.imagined_dreams, rng)
        noise = draw_batch_noise(
            rng, settings.imagined_steps, settings.imagined_dreams, self._world.noise_sizes, device
        )
        shape = (settings.imagined_steps, settings.imagined_dreams, self._shape.action_size)
        drawn = torch.from_numpy(self._draw(rng, shape)).to(device)
        features, outputs, rewards, continues = [self._inputs(self._world.features(state))], [], [], []
        for t in range(settings.imagined_steps):
            noisy = self._noisy(self._outputs(features[-1]), drawn[t])
            step = self._world.step(state, self._action_map.torch(noisy), noise.at(t), self._dream)
            state = step.state
            features.append(self._inputs(self._world.features(state)))
            outputs.append(noisy)
            rewards.append(step.rewards)
            continues.append(1 - step.terminated.float())
        return Dreamed(*map(torch.stack, (features, outputs, rewards, continues)))

    def _update(self, dreamed: Dreamed) -> dict[str, float]:
        settings = self._settings
        discounts = settings.discount * dreamed.continues
        values = self._slow.value(dreamed.features)
        returns = lambda_returns(dreamed.rewards, values, discounts, settings.trace)
        # What comes after a termination has not been.
        weights = torch.cat([torch.ones_like(discounts[:1]), discounts[:-1]]).cumprod(dim=0)
        features, known = dreamed.features[:-1].detach(), returns.detach()
        outputs = self._outputs(features.flatten(0, 1)).view_as(dreamed.outputs)
        log_probability, entropy = self._likelihood(outputs, dreamed.outputs.detach())
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

    def _inputs(self, features: Features) -> Tensor:
        return torch.cat([features[name] for name in self._shape.inputs], dim=-1)

    def _outputs(self, inputs: Tensor) -> Tensor:
        # The features are side by side already, so that they are one input of the actor.
        single = replace(self._shape, inputs="z")
        return population_outputs(single, self._actor[None], {"z": inputs})

    @property
    def _is_discrete(self) -> bool:
        return isinstance(self._action_map, OneHotActionMap)

    def _draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Gumbel noise for discrete actions: the largest noisy output is then a draw from their softmax."""
        drawn = rng.gumbel(size=shape) if self._is_discrete else rng.standard_normal(shape)
        return drawn.astype(np.float32)

    def _noisy(self, outputs: Tensor, drawn: Tensor) -> Tensor:
        return outputs + (drawn if self._is_discrete else self._log_std.exp() * drawn)

    def _likelihood(self, outputs: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of what was drawn, and the entropy, each (T, B)."""
        if self._is_discrete:
            logs = outputs.log_softmax(dim=-1)
            chosen = noisy.argmax(dim=-1, keepdim=True)
            return logs.gather(-1, chosen).squeeze(-1), -(logs.exp() * logs).sum(dim=-1)
        normal = torch.distributions.Normal(outputs, self._log_std.exp(), validate_args=False)
        return normal.log_prob(noisy).sum(dim=-1), normal.entropy().sum(dim=-1)

    def _trained(self) -> list[nn.Parameter]:
        return [self._actor, self._log_std, *self._critic.parameters()]

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        tensors = {"log_std": self._log_std.detach(), "spread": self._spread}
        for prefix, module in (("critic", self._critic), ("slow", self._slow)):
            tensors |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": value for name, value in moments.items()}
        # float32 exactly; `parameters` has them as float64.
        return {"actor": self._actor.detach().cpu().numpy()} | {k: v.cpu().numpy() for k, v in tensors.items()}, {}

    def restore(self, arrays: Arrays, values: Mapping[str, Any]) -> None:
        tensors = {name: torch.from_numpy(np.array(array)).to(self._world.device) for name, array in arrays.items()}
        with torch.no_grad():
            self._actor.copy_(tensors["actor"])
            self._log_std.copy_(tensors["log_std"])
            self._spread.copy_(tensors["spread"])
        for prefix, module in (("critic.", self._critic), ("slow.", self._slow)):
            module.load_state_dict(_with_prefix(prefix, tensors))
        stored = self._optimizer.state_dict()
        numbers = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("adam.")})
        stored["state"] = {number: _with_prefix(f"adam.{number}.", tensors) for number in numbers}
        self._optimizer.load_state_dict(stored)


def _with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _percentiles(like: Tensor) -> Tensor:
    return torch.tensor([0.05, 0.95], dtype=like.dtype, device=like.device)


def _returns_of(dreamed: Dreamed) -> Tensor:
    """The sums of the rewards up to the termination, (B,)."""
    alive = torch.cat([torch.ones_like(dreamed.continues[:1]), dreamed.continues[:-1]]).cumprod(dim=0)
    return (alive * dreamed.rewards).sum(dim=0)


def _first_parameters(shape: LinearSettings, rng: np.random.Generator) -> Array:
    """Hidden layers by their number of inputs (He et al., 2015); the last layer is zero, so that C begins at rest."""
    parts = []
    for number, (outputs, inputs) in enumerate(shape.layers, start=1):
        scale = 0.0 if number == len(shape.layers) else inputs**-0.5
        parts += [scale * rng.standard_normal(outputs * inputs), np.zeros(outputs)]
    return np.concatenate(parts)
