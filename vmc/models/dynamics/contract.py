"""The contract of M (a world model on latents), and that of its part in an agent's loop.

The shapes' letters: B batch, T time, Z latent, A action. A state belongs to a frame: it holds the latent of that frame
and what M remembers from before it. So `features(state)` at frame t is [z_t, h_t] with h_t from before M sees z_t
(paper, Listing 1), and `observe` and `imagine` lead from frame t to frame t + 1 with the action a_t.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from vmc.models.dynamics.noise import Noise, NoiseSizes
from vmc.models.dynamics.state import State
from vmc.models.export import export_graph
from vmc.models.mixture import Mixture

Features = Mapping[str, Tensor]


class Imagined(NamedTuple):
    """One imagined step.

    Attributes:
        state: at the next frame.
        rewards: expected reward of the step, (B,), in the environment's units.
        terminations: probability that the step terminates the episode, (B,).
    """

    state: State
    rewards: Tensor
    terminations: Tensor


class Prediction(NamedTuple):
    """M's predictions one step ahead along recorded episodes, each (B, T).

    Attributes:
        nll: negative log-likelihood of the next latent, in nats a latent dimension in use.
        rewards: expected reward.
        terminations: probability of termination.
    """

    nll: Tensor
    rewards: Tensor
    terminations: Tensor


@dataclass(frozen=True)
class SequenceBatch:
    """T steps of B recorded episodes, side by side, padded to one length.

    Attributes:
        latents: (B, T + 1, Z), one z a frame.
        actions: (B, T, A).
        rewards: (B, T); `rewards[:, t]` follows `actions[:, t]`.
        terminations: (B, T), 1 at steps labelled as terminated, else 0.
        mask: (B, T), 1 at real steps, 0 at padding.
        noise: (B, T, N), what the kind's `draw_training_noise` gave; None in validation.
    """

    latents: Tensor
    actions: Tensor
    rewards: Tensor
    terminations: Tensor
    mask: Tensor
    noise: Tensor | None = None

    def mean(self, values: Tensor) -> Tensor:
        """The mean of values (B, T) over the real steps."""
        return (values * self.mask).sum() / self.mask.sum()

    def window(self, first: int, last: int) -> SequenceBatch:
        """The steps from `first` up to `last`, or to the end."""
        steps, last = slice(first, last), min(last, self.actions.shape[1])
        parts = (self.latents[:, first : last + 1], self.actions[:, steps], self.rewards[:, steps])
        noise = None if self.noise is None else self.noise[:, steps]
        return SequenceBatch(*parts, self.terminations[:, steps], self.mask[:, steps], noise)


@dataclass(frozen=True)
class SequenceStatistics:
    """The facts about its training data that M needs.

    Attributes:
        reward_scale: standard deviation of the rewards, above 0.
        termination_rate: share of the steps labelled as terminated, above 0.
        latent_mask: the latent dimensions in use, bool (Z,): those of V's mask that vary in these data.
    """

    reward_scale: float
    termination_rate: float
    latent_mask: Tensor


class Imaginer(Protocol):
    """The part of a `WorldModel` that a dream needs. Its weights stay as they are."""

    @property
    def noise_sizes(self) -> NoiseSizes: ...

    def imagine(self, state: State, actions: Tensor, noise: Noise, temperature: float) -> Imagined: ...

    def features(self, state: State) -> Features: ...

    def latents(self, state: State) -> Tensor: ...

    def with_latents(self, state: State, latents: Tensor) -> State: ...


class WorldModel(nn.Module, ABC):
    """M: the dynamics of the latents, rewards and terminations.

    A kind of M is a subclass in a file of its own, with a line in `vmc.models.dynamics.KINDS`.

    Attributes:
        Settings: a frozen dataclass; it has `latent_size` and `action_size`, and may have `hidden_size` and `mixture`.
        settings: an instance of it.
        latent_mask: the latent dimensions in use, bool (Z,).
    """

    Settings: ClassVar[type[Any]]
    latent_mask: Tensor

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("latent_mask", torch.ones(settings.latent_size, dtype=torch.bool))

    @abstractmethod
    def initial(self, latents: Tensor) -> State:
        """The state at the first frame of B episodes, given its latents (B, Z)."""

    @abstractmethod
    def observe(self, state: State, actions: Tensor, latents: Tensor) -> State:
        """The state at the next frame, after the actions (B, A), given that frame's latents (B, Z)."""

    @abstractmethod
    def imagine(self, state: State, actions: Tensor, noise: Noise, temperature: float) -> Imagined:
        """The next frame as M imagines it, after the actions (B, A).

        Args:
            temperature: above 0; 1 samples M's own distribution.
        """

    @property
    @abstractmethod
    def noise_sizes(self) -> NoiseSizes:
        """The count of random numbers that `imagine` takes."""

    @property
    @abstractmethod
    def feature_sizes(self) -> dict[str, int]:
        """The names and widths of the features: `z`, and what C may read of M's memory (`h`, for example)."""

    @abstractmethod
    def features(self, state: State) -> Features:
        """All that C may read of a state, by name, each (B, width)."""

    @abstractmethod
    def latents(self, state: State) -> Tensor:
        """The latents of the state's frame, (B, Z): V decodes them."""

    @abstractmethod
    def with_latents(self, state: State, latents: Tensor) -> State:
        """The state at the same frame, had V drawn these latents (B, Z)."""

    def distribution(self, state: State) -> Mixture | None:
        """M's distribution of the state's latents from before it saw them; None where it has no mixture."""
        return None

    def draw_training_noise(self, batch: int, steps: int, generator: torch.Generator) -> Tensor | None:
        """The random numbers that a training on B episodes of T steps takes, (B, T, N); None where it takes none."""
        return None

    @abstractmethod
    def predict(self, batch: SequenceBatch, state: State) -> tuple[Prediction, State]:
        """One-step predictions along recorded steps.

        Args:
            state: at the batch's first frame.

        Returns:
            The predictions, and the state at the batch's last frame.
        """

    @abstractmethod
    def loss(self, batch: SequenceBatch, state: State) -> tuple[dict[str, Tensor], State]:
        """The training losses of recorded steps, scalars by name, `loss` (the total) among them; else as `predict`."""

    def prepare(self, statistics: SequenceStatistics) -> None:
        """Called once, before the first training."""
        self.latent_mask.copy_(statistics.latent_mask)

    def adapt(self, statistics: SequenceStatistics, relabelled: bool) -> None:
        """Called before a trained model trains on other data.

        Args:
            relabelled: other steps are labelled as terminated than before.
        """
        self.latent_mask.copy_(statistics.latent_mask)

    def frozen(self) -> Imaginer:
        """This model for dreams, perhaps faster; its weights must not change after this call."""
        return self

    def step_graphs(self) -> dict[str, bytes]:
        """`initial` and `observe` as ONNX graphs without weights, for an agent's loop (`ExportedStep`).

        Each maps one row of the state, the action and the latent to the next state and its features, in that order.
        They are not used for a kind with a `step` of its own in `KINDS`.
        """
        latents = torch.zeros(1, self.settings.latent_size)
        actions = torch.zeros(1, self.settings.action_size)
        state = self.initial(latents)
        names = [f"state.{number}" for number in range(len(state))]
        outputs = [f"next.{name}" for name in names] + [f"feature.{name}" for name in self.feature_sizes]
        graphs = {
            "initial": (_Initial(self), (latents,), ["latent"]),
            "observe": (_Observe(self), (actions, latents, *state), ["action", "latent", *names]),
        }
        return {name: export_graph(*parts, outputs) for name, parts in graphs.items()}


class _Initial(nn.Module):
    """`initial`, with the state and its features as outputs."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor) -> tuple[Tensor, ...]:
        state = self.model.initial(latents)
        return (*state, *self.model.features(state).values())


class _Observe(nn.Module):
    """`observe`, with the state's parts as inputs, and the next state and its features as outputs."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, actions: Tensor, latents: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        state = self.model.observe(State(parts), actions, latents)
        return (*state, *self.model.features(state).values())
