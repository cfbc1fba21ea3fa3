"""The heads of the MDN-RNN: p(z', r, terminated | z, a, memory) (paper, section 2.2 and appendix A.2).

They are the same for every recurrent network. A kind says what its memory is and how it moves.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vmc.config import option
from vmc.errors import VmcError
from vmc.models.dynamics import MIXTURES
from vmc.models.dynamics.contract import (
    Features,
    Imagined,
    Prediction,
    SequenceBatch,
)
from vmc.models.dynamics.noise import Noise, NoiseSizes
from vmc.models.dynamics.outcomes import WithOutcomes
from vmc.models.dynamics.state import State
from vmc.models.mixture import (
    Mixture,
    mixture_from_outputs,
    negative_log_likelihood,
    of_dimensions,
    sample_latents,
    sample_mixture,
)
from vmc.models.packed_linear import PackedLinear

Memory = tuple[Tensor, ...]


@dataclass(frozen=True)
class MDNSettings:
    """M's shape.

    Attributes:
        latent_size, action_size: Z and A.
        hidden_size: H, the width of the hidden vector h; 256 in the paper.
        num_mixtures: K, Gaussians in each mixture; 5 in the paper.
        mixture: one of `MIXTURES`.

    Raises:
        VmcError: an unknown mixture.
    """

    latent_size: int
    action_size: int
    hidden_size: int = option(256, least=1)
    num_mixtures: int = option(5, least=1)
    mixture: str = MIXTURES[0]

    def __post_init__(self) -> None:
        if self.mixture not in MIXTURES:
            raise VmcError(f"There is no mixture {self.mixture!r}.", f"Choose one of {', '.join(MIXTURES)}.")

    @property
    def num_weight_sets(self) -> int:
        """W, the number of sets of K mixture weights: Z or 1."""
        return self.latent_size if self.mixture == MIXTURES[0] else 1


class HeadOutputs(NamedTuple):
    """The heads' outputs, each with the leading shape of h.

    Attributes:
        mixture: over the next latent.
        rewards: expected reward, in the environment's units.
        termination_logits: of the probability of termination, as weighted in training.
    """

    mixture: Mixture
    rewards: Tensor
    termination_logits: Tensor


class MDN(WithOutcomes):
    """A recurrent network with a mixture head, a reward head and a termination head.

    The state is z and the network's memory, a tuple whose first part is the hidden vector h, which the heads read.
    """

    Settings = MDNSettings
    settings: MDNSettings

    def __init__(self, settings: MDNSettings) -> None:
        super().__init__(settings)
        z, h, k = settings.latent_size, settings.hidden_size, settings.num_mixtures
        self.make_network(z + settings.action_size, h)
        self.mixture = nn.Linear(h, (settings.num_weight_sets + 2 * z) * k)
        self.make_outcome_heads(h)

    @abstractmethod
    def make_network(self, input_size: int, hidden_size: int) -> None:
        """Makes the network's layers as attributes of this module."""

    @property
    def memory_sizes(self) -> dict[str, int]:
        """The memory's parts that C may read, and their widths; `h` comes first. Other parts may follow them."""
        return {"h": self.settings.hidden_size}

    @abstractmethod
    def unroll(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Inputs (B, T, I) and the memory before them to h after each step, (B, T, H), and the last memory."""

    @abstractmethod
    def step(self, inputs: Tensor, memory: Memory) -> Memory:
        """One step: inputs (B, I), z and the action side by side, and the memory before, to the memory after."""

    def frozen_step(self) -> Callable[[Tensor, Memory], Memory]:
        """`step` for dreams on the device of the weights, which must not change after this call."""
        return self.step

    def empty_memory(self, latents: Tensor) -> Memory:
        """The memory at the first frame of B episodes, with the latents' device: zeros."""
        return tuple(latents.new_zeros(len(latents), size) for size in self.memory_sizes.values())

    def initial(self, latents: Tensor) -> State:
        return State((latents, *self.empty_memory(latents)))

    def observe(self, state: State, actions: Tensor, latents: Tensor) -> State:
        return State((latents, *self.step(torch.cat([state[0], actions], dim=-1), state[1:])))

    def imagine(self, state: State, actions: Tensor, noise: Noise, temperature: float) -> Imagined:
        """The reference; dreams use `frozen`, which is several times faster."""
        memory = self.step(torch.cat([state[0], actions], dim=-1), state[1:])
        outputs = self.heads(memory[0])
        used, latents = self.used_dimensions(), torch.zeros_like(state[0])
        numbers = noise.uniform[:, used], noise.normal[:, used]
        latents[:, used] = sample_mixture(of_dimensions(outputs.mixture, used), *numbers, temperature)
        return Imagined(State((latents, *memory)), outputs.rewards, self.probability(outputs.termination_logits))

    @property
    def noise_sizes(self) -> NoiseSizes:
        return NoiseSizes(self.settings.latent_size, self.settings.latent_size)

    @property
    def feature_sizes(self) -> dict[str, int]:
        return {"z": self.settings.latent_size} | self.memory_sizes

    def features(self, state: State) -> Features:
        return dict(zip(self.feature_sizes, state, strict=False))

    def latents(self, state: State) -> Tensor:
        latents: Tensor = state[0]
        return latents

    def with_latents(self, state: State, latents: Tensor) -> State:
        return State((latents, *state[1:]))

    def distribution(self, state: State) -> Mixture:
        return self.heads(state[1]).mixture

    def heads(self, h: Tensor) -> HeadOutputs:
        """The heads' outputs of hidden vectors (..., H)."""
        mixture = mixture_from_outputs(self.mixture(h), self.settings.latent_size, self.settings.num_mixtures)
        return HeadOutputs(mixture, *self.outcomes(h))

    def predict(self, batch: SequenceBatch, state: State) -> tuple[Prediction, State]:
        outputs, nll, state = self._along(batch, state)
        return Prediction(nll, outputs.rewards, self.probability(outputs.termination_logits)), state

    def loss(self, batch: SequenceBatch, state: State) -> tuple[dict[str, Tensor], State]:
        """L = NLL + L_reward + L_termination, each a mean over real steps.

        NLL = -1/Z sum_i log sum_k w_ik N(z'_i; m_ik, s_ik) over the latent dimensions in use (Bishop 1994, equation
        24; paper, appendix A.2). For the others see `outcome_losses`.
        """
        outputs, nll, state = self._along(batch, state)
        losses = {"nll_per_dimension": batch.mean(nll)}
        losses |= self.outcome_losses(outputs.rewards, outputs.termination_logits, batch)
        return {"loss": sum(losses.values(), torch.zeros(())), **losses}, state

    def frozen(self) -> FrozenMDN:
        return FrozenMDN(self)

    def _along(self, batch: SequenceBatch, state: State) -> tuple[HeadOutputs, Tensor, State]:
        """The heads' outputs and the NLL (B, T) along recorded steps, and the state after them."""
        inputs = torch.cat([batch.latents[:, :-1], batch.actions], dim=-1)
        h, memory = self.unroll(inputs, state[1:])
        outputs, used = self.heads(h), self.used_dimensions()
        nll = negative_log_likelihood(of_dimensions(outputs.mixture, used), batch.latents[:, 1:][..., used])
        return outputs, nll, State((batch.latents[:, -1], *memory))


class FrozenMDN:
    """An `Imaginer`: all heads in one product, only the latent dimensions in use sampled, fast kernels.

    Args:
        model: in evaluation mode, on the device where the dream runs.
    """

    def __init__(self, model: MDN) -> None:
        self.noise_sizes = model.noise_sizes
        self.features, self.latents, self.with_latents = model.features, model.latents, model.with_latents
        self._used = model.used_dimensions()
        self._latent_size, self._num_mixtures = model.settings.latent_size, model.settings.num_mixtures
        self._num_weight_sets = min(model.settings.num_weight_sets, len(self._used))
        self._step = model.frozen_step()
        self._heads = PackedLinear(*_stacked_heads(model, self._used))

    @torch.no_grad()
    def imagine(self, state: State, actions: Tensor, noise: Noise, temperature: float) -> Imagined:
        memory = self._step(torch.cat([state[0], actions], dim=1), state[1:])
        outputs = self._heads(memory[0])
        latents = self._sample(outputs, noise, temperature)
        return Imagined(State((latents, *memory)), outputs[:, -2], outputs[:, -1].sigmoid())

    def _sample(self, outputs: Tensor, noise: Noise, temperature: float) -> Tensor:
        """The next latents, (B, Z): sampled in the dimensions in use, 0 in the others."""
        sizes = (self._num_mixtures, self._num_weight_sets, len(self._used))
        if len(self._used) == self._latent_size:
            return sample_latents(outputs, sizes, noise.uniform, noise.normal, temperature)
        latents = outputs.new_zeros(len(outputs), self._latent_size)
        uniform, normal = noise.uniform[:, self._used], noise.normal[:, self._used]
        latents[:, self._used] = sample_latents(outputs, sizes, uniform, normal, temperature)
        return latents


def _stacked_heads(model: MDN, used: Tensor) -> tuple[Tensor, Tensor]:
    """M's heads as one layer: the mixture, its K components before its dimensions in use; reward; termination."""
    settings, scale = model.settings, model.reward_scale
    z, k = settings.latent_size, settings.num_mixtures
    columns = []
    for part in ("weight", "bias"):
        fields = getattr(model.mixture, part).detach().split([settings.num_weight_sets * k, z * k, z * k])
        sets = [field.unflatten(0, (-1, k)) for field in fields]  # the weights may be one set for all dimensions
        chosen = [each[used] if len(each) == z else each for each in sets]
        rows = [each.transpose(0, 1).flatten(0, 1) for each in chosen]
        reward, termination = (getattr(head, part).detach() for head in (model.reward, model.termination))
        columns.append(torch.cat([*rows, reward * scale, termination]))
    weight, bias = columns
    bias[-1] -= model.termination_weight.log()  # see `probability`
    return weight, bias
