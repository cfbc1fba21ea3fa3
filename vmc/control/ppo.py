"""Proximal policy optimisation on M's features (Schulman et al., 2017), in the real environment or in the dream.

C is what acts, with noise on its outputs while it learns; a critic tells how much better than expected each step was.
C is used without noise, so the noise falls over the generations; the actor's learning rate falls with it, because the
smaller the noise, the larger a step is for the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vmc.control.experience import Collect, Experience
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
from vmc.models.controller import LinearSettings
from vmc.models.two_hot import two_hot_loss
from vmc.seeding import seeded_initialisation, stream

# Steps of an update.
_MINIBATCH = 2048
_CLIP = 0.2
# The actor stops where the policy has moved so far from the one that acted (Kullback-Leibler divergence).
_MOST_DIVERGENCE = 0.02


@dataclass(frozen=True)
class PPOSettings:
    """How the actor and the critic learn.

    Attributes:
        epochs: passes over a generation's steps; the actor's end before where the policy has moved far.
        discount, trace: gamma and lambda of the returns.
        entropy: its weight in the actor's loss.
        policy_learning_rate, learning_rate: of the actor's and the critic's Adam.
        noise, final_noise: on C's outputs in the first generation, and after `noise_generations`.
        noise_generations: in which it falls.
        seed: of the first weights and of the order of the steps.
    """

    epochs: int
    discount: float
    trace: float
    entropy: float
    policy_learning_rate: float
    learning_rate: float
    noise: float
    final_noise: float
    noise_generations: int
    seed: int

    def noise_of(self, done: int) -> float:
        """The noise after so many generations: its logarithm falls slowly at first, while C learns to drive with it."""
        share = min(done / self.noise_generations, 1.0) ** 2
        return float(self.noise ** (1 - share) * self.final_noise**share)


class _Steps(NamedTuple):
    """N steps to learn from.

    Attributes:
        features: C's inputs, (N, I).
        noisy: the outputs that were drawn, (N, A).
        returns: lambda returns, (N,).
        advantages: how much better than the critic expected, (N,), of mean 0 and standard deviation 1.
        log_probability: of what was drawn, when it was, (N,).
    """

    features: Tensor
    noisy: Tensor
    returns: Tensor
    advantages: Tensor
    log_probability: Tensor


class PPO:
    """A `Trainer`.

    The actor learns as if all features had one spread: M's differ by a factor of ten, and Adam's steps are alike for
    all of them.

    Args:
        collect: lets the noisy C act.
        shape: C's.
        device: of actor and critic.
        mean: C's first parameters, (N,); without it, the last layer is zero.
        phase: names the random streams, with the seed.
    """

    def __init__(
        self,
        settings: PPOSettings,
        collect: Collect,
        shape: LinearSettings,
        is_discrete: bool,
        device: torch.device,
        mean: Array | None,
        phase: int,
    ) -> None:
        self._settings, self._collect, self._phase, self._done = settings, collect, phase, 0
        with seeded_initialisation(settings.seed):
            self._critic = Critic(shape.input_size).to(device)
        first = first_parameters(shape, stream(settings.seed, "ppo/first", phase)) if mean is None else mean
        self._actor = StochasticActor(shape, first, settings.noise, is_discrete).to(device)
        self._actor.log_scale.requires_grad_(False)
        # The largest of any generation: a memory that hardly varies in the first short episodes may do so later.
        self._spreads = torch.zeros(shape.input_size, device=device)
        self._actor_optimizer = torch.optim.Adam([self._actor.weights], settings.policy_learning_rate)
        self._critic_optimizer = torch.optim.Adam(self._critic.parameters(), settings.learning_rate)

    @property
    def parameters(self) -> Array:
        """C without noise."""
        return self._actor.parameters_of_c

    @property
    def episodes_per_generation(self) -> int:
        return self._collect.num_episodes

    def train(self, generation: int, on_episodes: Callable[[int], None]) -> Generation:
        settings = self._settings
        noise = settings.noise_of(self._done)
        self._actor.log_scale.fill_(float(np.log(noise)))
        self._actor_optimizer.param_groups[0]["lr"] = settings.policy_learning_rate * noise / settings.noise
        experience = self._collect(self._actor, generation, on_episodes)
        steps = self._steps(experience)
        learnt = self._learn(steps, stream(settings.seed, "ppo/order", self._phase, generation))
        self._done += 1
        returns, num_steps = experience.returns, len(steps.advantages)
        metrics = {"best": returns.max().item(), "mean": returns.mean().item(), "worst": returns.min().item()}
        return Generation(metrics | {"noise": noise, "mean_length": num_steps / len(returns)} | learnt, num_steps)

    @torch.no_grad()
    def _steps(self, experience: Experience) -> _Steps:
        """The steps that there were; their advantages are by the critic of before the generation."""
        settings, actor = self._settings, self._actor
        experience = Experience(*(part.to(actor.weights.device) for part in experience))
        mask = experience.mask > 0
        features, noisy = experience.features[:-1][mask], experience.outputs[mask]
        self._spreads = torch.maximum(self._spreads, features.std(dim=0, correction=0))
        actor.rescale(self._spreads)
        values = self._critic.value(experience.features)
        returns = lambda_returns(experience.rewards, values, experience.discounts(settings.discount), settings.trace)
        returns, advantages = returns[mask], (returns - values[:-1])[mask]
        advantages = (advantages - advantages.mean()) / advantages.std(correction=0).clamp(min=1e-6)
        log_probability, _ = actor.likelihood(actor(features), noisy)
        return _Steps(features, noisy, returns, advantages, log_probability)

    def _learn(self, steps: _Steps, rng: np.random.Generator) -> dict[str, float]:
        """Returns the means of the actor's and of the critic's last epoch."""
        told, may_move = dict[str, float](), True
        for epoch in range(1, self._settings.epochs + 1):
            order = torch.from_numpy(rng.permutation(len(steps.advantages))).to(steps.advantages.device)
            minibatches = [_Steps(*(part[rows] for part in steps)) for rows in order.split(_MINIBATCH)]
            told |= _means([self._update_critic(each) for each in minibatches])
            updates = []
            for minibatch in minibatches:
                if may_move:
                    updates.append(self._update_actor(minibatch))
                    may_move = updates[-1]["divergence"] <= _MOST_DIVERGENCE
            told |= {"epochs": epoch, **_means(updates)} if updates else {}
        return told

    def _update_actor(self, steps: _Steps) -> dict[str, float]:
        log_probability, entropy = self._actor.likelihood(self._actor(steps.features), steps.noisy)
        change = log_probability - steps.log_probability
        ratio = change.exp()
        gain = torch.minimum(ratio * steps.advantages, ratio.clamp(1 - _CLIP, 1 + _CLIP) * steps.advantages)
        loss = -(gain + self._settings.entropy * entropy).mean()
        _descend(self._actor_optimizer, loss)
        divergence = (ratio - 1 - change).mean()  # an estimate that is never negative (Schulman, 2020)
        return {"actor_loss": loss.item(), "entropy": entropy.mean().item(), "divergence": divergence.item()}

    def _update_critic(self, steps: _Steps) -> dict[str, float]:
        loss = two_hot_loss(self._critic(steps.features), steps.returns, self._critic.bins).mean()
        _descend(self._critic_optimizer, loss)
        return {"critic_loss": loss.item()}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"adam.actor": self._actor_optimizer, "adam.critic": self._critic_optimizer}

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        critic = {f"critic.{name}": value for name, value in self._critic.state_dict().items()}
        actor = {"actor": self._actor.weights, "spreads": self._spreads}
        moments = [optimizer_arrays(each, prefix) for prefix, each in self._optimizers().items()]
        return to_arrays({**actor, **critic, **moments[0], **moments[1]}), {"done": self._done}

    def restore(self, arrays: Arrays, values: Mapping[str, Any]) -> None:
        device = self._actor.weights.device
        tensors = {name: torch.from_numpy(np.array(array)).to(device) for name, array in arrays.items()}
        self._spreads.copy_(tensors["spreads"])
        self._done = int(values["done"])
        if self._done:
            self._actor.rescale(self._spreads)
        self._actor.weights.data.copy_(tensors["actor"])
        self._critic.load_state_dict(with_prefix("critic.", tensors))
        for prefix, optimizer in self._optimizers().items():
            restore_optimizer(optimizer, tensors, prefix)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _means(updates: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([update[name] for update in updates])) for name in updates[0]}
