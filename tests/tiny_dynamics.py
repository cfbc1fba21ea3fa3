"""An M of a kind that the package does not know, for tests of the contract: no recurrent network, no mixture.

A module of its own, because worker processes import it by the name `tiny_dynamics:TinyDynamics`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from vmc.models.dynamics.contract import Features, Imagined, Prediction, SequenceBatch, WorldModel
from vmc.models.dynamics.noise import Noise, NoiseSizes
from vmc.models.dynamics.state import State

_FRAMES, _WIDTH = 2, 3


@dataclass(frozen=True)
class TinySettings:
    """No `hidden_size` and no `mixture`: a kind need not have them."""

    latent_size: int
    action_size: int


class TinyDynamics(WorldModel):
    """z' is a Gaussian around a linear function of z, the action, the two frames before, and the time.

    The state is z (B, Z), a summary of the two frames before it (B, 2, 3), and the number of steps so far (B, 1).
    `observe` does not use the action, and `imagine` needs no uniform numbers.
    """

    Settings = TinySettings
    settings: TinySettings

    def __init__(self, settings: TinySettings) -> None:
        super().__init__(settings)
        z, inputs = settings.latent_size, settings.latent_size + settings.action_size + _FRAMES * _WIDTH + 1
        self.summary = nn.Linear(z, _WIDTH)
        self.mean, self.reward, self.termination = nn.Linear(inputs, z), nn.Linear(inputs, 1), nn.Linear(inputs, 1)
        self.log_std = nn.Parameter(torch.zeros(z))

    def initial(self, latents: Tensor) -> State:
        count = len(latents)
        return State((latents, latents.new_zeros(count, _FRAMES, _WIDTH), latents.new_zeros(count, 1)))

    def observe(self, state: State, actions: Tensor, latents: Tensor) -> State:
        z, history, steps = state
        return State((latents, torch.cat([history[:, 1:], self.summary(z)[:, None]], dim=1), steps + 1))

    def imagine(self, state: State, actions: Tensor, noise: Noise, temperature: float) -> Imagined:
        means, rewards, logits = self._heads(state, actions)
        sampled = means + self.log_std.exp() * noise.normal * temperature**0.5
        latents = torch.where(self.latent_mask, sampled, 0.0)
        return Imagined(self.observe(state, actions, latents), rewards, logits.sigmoid())

    @property
    def noise_sizes(self) -> NoiseSizes:
        return NoiseSizes(0, self.settings.latent_size)

    @property
    def feature_sizes(self) -> dict[str, int]:
        return {"z": self.settings.latent_size, "h": _FRAMES * _WIDTH + 1}

    def features(self, state: State) -> Features:
        z, history, steps = state
        return {"z": z, "h": torch.cat([history.flatten(1), 1 / (1 + steps)], dim=1)}

    def latents(self, state: State) -> Tensor:
        latents: Tensor = state[0]
        return latents

    def with_latents(self, state: State, latents: Tensor) -> State:
        return State((latents, *state[1:]))

    def predict(self, batch: SequenceBatch, state: State) -> tuple[Prediction, State]:
        nll, rewards, logits, state = self._along(batch, state)
        return Prediction(nll, rewards, logits.sigmoid()), state

    def loss(self, batch: SequenceBatch, state: State) -> tuple[dict[str, Tensor], State]:
        nll, rewards, logits, state = self._along(batch, state)
        parts = {
            "nll_per_dimension": nll,
            "reward_loss": (rewards - batch.rewards).square(),
            "termination_loss": F.binary_cross_entropy_with_logits(logits, batch.terminations, reduction="none"),
        }
        losses = {name: (part * batch.mask).sum() / batch.mask.sum() for name, part in parts.items()}
        return {"loss": torch.stack([*losses.values()]).sum()} | losses, state

    def _heads(self, state: State, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of the next latent (B, Z), the reward and the logit of termination, each (B,)."""
        inputs = torch.cat([*self.features(state).values(), actions], dim=1)
        return state[0] + self.mean(inputs), self.reward(inputs)[:, 0], self.termination(inputs)[:, 0]

    def _along(self, batch: SequenceBatch, state: State) -> tuple[Tensor, Tensor, Tensor, State]:
        """The negative log-likelihood, the rewards and the logits, each (B, T), and the last state."""
        columns = []
        for t, actions in enumerate(batch.actions.unbind(dim=1)):
            latents = batch.latents[:, t + 1]
            means, rewards, logits = self._heads(state, actions)
            log_likelihood = Normal(means, self.log_std.exp(), validate_args=False).log_prob(latents)
            columns.append((-log_likelihood[:, self.latent_mask].mean(dim=1), rewards, logits))
            state = self.observe(state, actions, latents)
        nll, rewards, logits = (torch.stack(column, dim=1) for column in zip(*columns, strict=True))
        return nll, rewards, logits, state
