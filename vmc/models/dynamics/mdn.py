"""The heads of the MDN-RNN: p(z', r, terminated | z, a, memory) (paper, section 2.2 and appendix A.2).

They are the same for every recurrent network. A kind says what its memory is and how it moves.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmc.errors import VmcError
from vmc.models.dynamics import MIXTURES
from vmc.models.dynamics.contract import (
    Features,
    Imagined,
    Prediction,
    SequenceBatch,
    SequenceStatistics,
    WorldModel,
)
from vmc.models.dynamics.noise import Noise, NoiseSizes
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

# Terminations weigh as if they were this share of the steps, but not more than in the original (`restart_factor` of
# hardmaru's `doomrnn/doomrnn.py`): what they weigh more, the mixture gets less of the clipped gradient.
_TERMINATION_SHARE, _MAX_TERMINATION_WEIGHT = 0.03, 10.0
# A squared error would let rewards like CarRacing's -100 dominate: beyond ten standard deviations it is linear.
_HUBER_DELTA = 10.0

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
    hidden_size: int = 256
    num_mixtures: int = 5
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


class MDN(WorldModel):
    """A recurrent network with a mixture head, a reward head and a termination head.

    The state is z and the network's memory, a tuple whose first part is the hidden vector h, which the heads read.
    """

    Settings = MDNSettings
    settings: MDNSettings
    reward_scale: Tensor
    termination_weight: Tensor

    def __init__(self, settings: MDNSettings) -> None:
        super().__init__(settings)
        z, h, k = settings.latent_size, settings.hidden_size, settings.num_mixtures
        self.make_network(z + settings.action_size, h)
        self.mixture = nn.Linear(h, (settings.num_weight_sets + 2 * z) * k)
        self.reward = nn.Linear(h, 1)
        self.termination = nn.Linear(h, 1)
        # The reward head works in units of the training rewards' standard deviation.
        self.register_buffer("reward_scale", torch.ones(()))
        # By how much the loss weighs terminations, which are rare, above their frequency.
        self.register_buffer("termination_weight", torch.ones(()))

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
        return Imagined(State((latents, *memory)), outputs.rewards, self._probability(outputs.termination_logits))

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
        rewards = self.reward(h).squeeze(-1) * self.reward_scale
        return HeadOutputs(mixture, rewards, self.termination(h).squeeze(-1))

    def predict(self, batch: SequenceBatch, state: State) -> tuple[Prediction, State]:
        outputs, nll, state = self._along(batch, state)
        return Prediction(nll, outputs.rewards, self._probability(outputs.termination_logits)), state

    def loss(self, batch: SequenceBatch, state: State) -> tuple[dict[str, Tensor], State]:
        """L = NLL + L_reward + L_termination, each a mean over real steps.

        NLL = -1/Z sum_i log sum_k w_ik N(z'_i; m_ik, s_ik) over the latent dimensions in use (Bishop 1994, equation
        24; paper, appendix A.2). L_reward is twice the Huber loss of the error in units of `reward_scale`: the squared
        error up to ten units. L_termination is the binary cross entropy, with terminations weighted.
        """
        outputs, nll, state = self._along(batch, state)
        errors = (outputs.rewards - batch.rewards) / self.reward_scale
        reward = 2 * F.huber_loss(errors, torch.zeros_like(errors), delta=_HUBER_DELTA, reduction="none")
        termination = F.binary_cross_entropy_with_logits(
            outputs.termination_logits, batch.terminations, pos_weight=self.termination_weight, reduction="none"
        )
        parts = (nll, reward, termination)
        nll, reward, termination = ((part * batch.mask).sum() / batch.mask.sum() for part in parts)
        losses = {"loss": nll + reward + termination, "nll_per_dimension": nll}
        return losses | {"reward_loss": reward, "termination_loss": termination}, state

    @torch.no_grad()
    def prepare(self, statistics: SequenceStatistics) -> None:
        super().prepare(statistics)
        self.reward_scale.fill_(statistics.reward_scale)
        self.termination_weight.fill_(_termination_weight(statistics))
        self._predict_the_mean_termination(statistics)

    @torch.no_grad()
    def adapt(self, statistics: SequenceStatistics, relabelled: bool) -> None:
        """Measures rewards in the new data's standard deviation, and weighs terminations by their new rarity.

        The heads move with them, so that M predicts what it did. A controller gets other rewards than a random
        policy: in the old units their errors would outweigh the mixture's loss.
        """
        super().adapt(statistics, relabelled)
        ratio = self.reward_scale / statistics.reward_scale
        self.reward.weight.mul_(ratio)
        self.reward.bias.mul_(ratio)
        self.reward_scale.fill_(statistics.reward_scale)
        weight = _termination_weight(statistics)
        self.termination.bias.add_((weight / self.termination_weight).log())
        self.termination_weight.fill_(weight)
        if relabelled:
            self._predict_the_mean_termination(statistics)

    def frozen(self) -> FrozenMDN:
        return FrozenMDN(self)

    def _along(self, batch: SequenceBatch, state: State) -> tuple[HeadOutputs, Tensor, State]:
        """The heads' outputs and the NLL (B, T) along recorded steps, and the state after them."""
        inputs = torch.cat([batch.latents[:, :-1], batch.actions], dim=-1)
        h, memory = self.unroll(inputs, state[1:])
        outputs, used = self.heads(h), self.used_dimensions()
        nll = negative_log_likelihood(of_dimensions(outputs.mixture, used), batch.latents[:, 1:][..., used])
        return outputs, nll, State((batch.latents[:, -1], *memory))

    def used_dimensions(self) -> Tensor:
        """The latent dimensions in use, by their numbers (D,); all of them where the mask leaves none."""
        mask = self.latent_mask if self.latent_mask.any() else ~self.latent_mask
        numbers: Tensor = mask.nonzero()[:, 0]
        return numbers

    def _probability(self, logits: Tensor) -> Tensor:
        """Takes the weight of terminations in training out of their logits."""
        return (logits - self.termination_weight.log()).sigmoid()

    def _predict_the_mean_termination(self, statistics: SequenceStatistics) -> None:
        """The head begins with the frequency of terminations.

        It would take an epoch or more to find it, and its loss would leave the mixture little of the clipped gradient
        for so long.
        """
        rate = torch.tensor(statistics.termination_rate)
        self.termination.weight.zero_()
        self.termination.bias.fill_(torch.logit(rate, eps=1e-6) + log(_termination_weight(statistics)))


def _termination_weight(statistics: SequenceStatistics) -> float:
    weight = _TERMINATION_SHARE / statistics.termination_rate
    return min(max(weight, 1.0), _MAX_TERMINATION_WEIGHT)


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
    bias[-1] -= model.termination_weight.log()  # see `_probability`
    return weight, bias
