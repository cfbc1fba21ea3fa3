"""The recurrent state-space model of PlaNet (Hafner et al., 2019) and Dreamer, on V's latents.

h is deterministic, s is stochastic: h' = f(h, s, a), with the prior p(s' | h') and the posterior q(s' | h', z').
The heads read h and s. (Here s holds what the papers call z; z is V's latent.)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vmc.config import option
from vmc.errors import VmcError
from vmc.models.dynamics.contract import Features, Imagined, Prediction, SequenceBatch
from vmc.models.dynamics.mdn import Memory
from vmc.models.dynamics.noise import Noise, NoiseSizes
from vmc.models.dynamics.outcomes import REWARDS, TWO_HOT, WithOutcomes
from vmc.models.dynamics.recurrences import RECURRENCES
from vmc.models.dynamics.rssm_frozen import FrozenRSSM
from vmc.models.dynamics.state import State
from vmc.models.dynamics.stochastic import Categorical, Gaussian

# DreamerV3 (Hafner et al., 2023), appendix B: the prior learns faster than the posterior is regularised, and a KL
# below one nat costs nothing.
_PRIOR_SCALE, _POSTERIOR_SCALE, _FREE_NATS = 1.0, 0.1, 1.0
_MIN_LOG_STD = -5.0
STOCHASTIC = ("categorical", "gaussian")


@dataclass(frozen=True)
class RSSMSettings:
    """M's shape.

    Attributes:
        latent_size, action_size: Z and A.
        hidden_size: H, the width of h and of all hidden layers.
        stochastic: whether s is made of `categorical` variables or is `gaussian`; one of `STOCHASTIC`.
        num_variables: of s.
        num_classes: of a categorical variable.
        recurrence: what moves h; one of `RECURRENCES`.
        rewards: whether the reward is learnt by its squared error (`squared`), or classified on a logarithmic scale
            (`two-hot`), for rewards of very different sizes.

    Raises:
        VmcError: an unknown kind of s, of recurrence or of rewards.
    """

    latent_size: int
    action_size: int
    hidden_size: int = option(256, least=1)
    stochastic: str = STOCHASTIC[0]
    num_variables: int = option(32, least=1)
    num_classes: int = option(32, least=2)
    recurrence: str = "gru"
    rewards: str = REWARDS[0]

    def __post_init__(self) -> None:
        for name, known in (("stochastic", STOCHASTIC), ("recurrence", RECURRENCES), ("rewards", REWARDS)):
            value = getattr(self, name)
            if value not in known:
                raise VmcError(f"An RSSM's {name} cannot be {value!r}.", f"Choose one of {', '.join(known)}.")


class _Along(NamedTuple):
    """Along recorded steps, each (B, T, ...): h and s at the next frames, and the outputs for prior and posterior."""

    h: Tensor
    s: Tensor
    prior: Tensor
    posterior: Tensor


class RSSM(WithOutcomes):
    """The state is z, s and the recurrence's memory, whose first part is h.

    In the real environment and along recordings, s comes from the posterior, which has seen the frame's z; in a dream
    it comes from the prior, and z from s and h. C reads z and h.

    What differs from the papers: it predicts V's latents, not pictures; the reward is a squared error (Huber), as in
    the other kinds of M, unless two-hot classes are asked for; in the environment's loop s is the posterior's mode, not
    a sample.
    """

    Settings = RSSMSettings
    settings: RSSMSettings

    def __init__(self, settings: RSSMSettings) -> None:
        super().__init__(settings)
        z, a, h = settings.latent_size, settings.action_size, settings.hidden_size
        self.stochastic = _stochastic(settings)
        self.embedding = _layer(self.stochastic.size + a, h)
        self.recurrence = RECURRENCES[settings.recurrence](h)
        self.prior = nn.Sequential(*_layer(h, h), nn.Linear(h, self.stochastic.num_outputs))
        self.posterior = nn.Sequential(*_layer(h + z, h), nn.Linear(h, self.stochastic.num_outputs))
        self.trunk = _layer(h + self.stochastic.size, h)
        self.latent = nn.Linear(h, 2 * z)
        self.make_outcome_heads(h, settings.rewards)

    def initial(self, latents: Tensor) -> State:
        memory = self.recurrence.empty(latents)
        return State((latents, self._inferred(memory[0], latents), *memory))

    def observe(self, state: State, actions: Tensor, latents: Tensor) -> State:
        memory = self._moved(state, actions)
        return State((latents, self._inferred(memory[0], latents), *memory))

    def imagine(self, state: State, actions: Tensor, noise: Noise, temperature: float) -> Imagined:
        uniform, normal = self.stochastic.noise_sizes
        memory = self._moved(state, actions)
        h = memory[0]
        numbers = noise.uniform if uniform else noise.normal[:, :normal]
        s = self.stochastic.sample(self.prior(h), numbers, temperature)
        vectors = self.trunk(torch.cat([h, s], dim=-1))
        mean, log_std = self.split_latent(self.latent(vectors))
        sampled = mean + log_std.exp() * noise.normal[:, normal:] * temperature**0.5
        rewards, logits = self.outcomes(vectors)
        return Imagined(State((torch.where(self._used, sampled, 0), s, *memory)), rewards, self.probability(logits))

    @property
    def noise_sizes(self) -> NoiseSizes:
        uniform, normal = self.stochastic.noise_sizes
        return NoiseSizes(uniform, normal + self.settings.latent_size)

    @property
    def feature_sizes(self) -> dict[str, int]:
        return {"z": self.settings.latent_size, "h": self.settings.hidden_size}

    def features(self, state: State) -> Features:
        return {"z": state[0], "h": state[2]}

    def latents(self, state: State) -> Tensor:
        latents: Tensor = state[0]
        return latents

    def with_latents(self, state: State, latents: Tensor) -> State:
        return State((latents, self._inferred(state[2], latents), *state[2:]))

    def draw_training_noise(self, batch: int, steps: int, generator: torch.Generator) -> Tensor:
        uniform, normal = self.stochastic.noise_sizes
        draw = torch.rand if uniform else torch.randn
        return draw(batch, steps, uniform or normal, generator=generator, device=generator.device)

    def predict(self, batch: SequenceBatch, state: State) -> tuple[Prediction, State]:
        """The NLL is an upper bound: the error of the latent under the posterior, and KL(posterior || prior)."""
        along, state = self._along(batch, state)
        bound = self._errors(along, batch) + self.stochastic.divergence(along.posterior, along.prior)
        vectors = self.trunk(torch.cat([along.h, self.stochastic.mode(along.prior)], dim=-1))
        rewards, logits = self.outcomes(vectors)
        return Prediction(bound / self._used.sum(), rewards, self.probability(logits)), state

    def loss(self, batch: SequenceBatch, state: State) -> tuple[dict[str, Tensor], State]:
        """L = (L_latent + max(1, KL(sg q || p)) + 0.1 max(1, KL(q || sg p))) / D + L_reward + L_termination.

        sg stops the gradient, D is the number of latent dimensions in use (DreamerV3, equations 4 and 5).
        `nll_per_dimension` is the bound of `predict`; `kl_balance` is by how much the loss differs from it.
        """
        along, state = self._along(batch, state)
        errors, divergence = self._errors(along, batch), self.stochastic.divergence
        bound = errors + divergence(along.posterior, along.prior)
        prior = divergence(along.posterior.detach(), along.prior).clamp(min=_FREE_NATS)
        posterior = divergence(along.posterior, along.prior.detach()).clamp(min=_FREE_NATS)
        balanced = errors + _PRIOR_SCALE * prior + _POSTERIOR_SCALE * posterior
        used = self._used.sum()
        losses = {"nll_per_dimension": batch.mean(bound) / used, "kl_balance": batch.mean(balanced - bound) / used}
        vectors = self.trunk(torch.cat([along.h, along.s], dim=-1))
        losses |= self.outcome_losses(*self.outcomes(vectors), batch)
        if self.settings.rewards == TWO_HOT:
            losses["reward_loss"] = self.classified_reward_loss(vectors, batch)
        return {"loss": sum(losses.values(), torch.zeros(())), **losses}, state

    def frozen(self) -> FrozenRSSM:
        return FrozenRSSM(self)

    def _along(self, batch: SequenceBatch, state: State) -> tuple[_Along, State]:
        steps = []
        for t in range(batch.actions.shape[1]):
            memory, latents = self._moved(state, batch.actions[:, t]), batch.latents[:, t + 1]
            h = memory[0]
            outputs = self._posterior(h, latents)
            noise = None if batch.noise is None else batch.noise[:, t]
            s = self.stochastic.mode(outputs) if noise is None else self.stochastic.sample(outputs, noise)
            state = State((latents, s, *memory))
            steps.append((h, s, outputs))
        h, s, posterior = (torch.stack(parts, dim=1) for parts in zip(*steps, strict=True))
        return _Along(h, s, self.prior(h), posterior), state

    def _errors(self, along: _Along, batch: SequenceBatch) -> Tensor:
        """-log p(z' | h', s') over the latent dimensions in use, (B, T)."""
        mean, log_std = self.split_latent(self.latent(self.trunk(torch.cat([along.h, along.s], dim=-1))))
        standardised = (batch.latents[:, 1:] - mean) * (-log_std).exp()
        nll = 0.5 * (standardised.square() + log(2 * pi)) + log_std
        return torch.where(self._used, nll, 0).sum(dim=-1)

    def _moved(self, state: State, actions: Tensor) -> Memory:
        """The recurrence's memory after the actions."""
        _, s, *memory = state
        moved: Memory = self.recurrence.step(self.embedding(torch.cat([s, actions], dim=-1)), tuple(memory))
        return moved

    def _inferred(self, h: Tensor, latents: Tensor) -> Tensor:
        return self.stochastic.mode(self._posterior(h, latents))

    def _posterior(self, h: Tensor, latents: Tensor) -> Tensor:
        return self.posterior(torch.cat([h, torch.where(self._used, latents, 0)], dim=-1))  # type: ignore[no-any-return]

    def split_latent(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """The latent head's outputs (..., 2 Z) as mean and log standard deviation, (..., Z) each."""
        mean, log_std = outputs.chunk(2, dim=-1)
        return mean, log_std.clamp(min=_MIN_LOG_STD)

    @property
    def _used(self) -> Tensor:
        """The mask of the latent dimensions in use; all of them where it leaves none."""
        return self.latent_mask if self.latent_mask.any() else ~self.latent_mask


def _stochastic(settings: RSSMSettings) -> Categorical | Gaussian:
    if settings.stochastic == STOCHASTIC[0]:
        return Categorical(settings.num_variables, settings.num_classes)
    return Gaussian(settings.num_variables)


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.SiLU())
