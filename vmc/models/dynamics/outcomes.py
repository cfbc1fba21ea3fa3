"""The heads for reward and termination, which kinds of M share."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmc.models.dynamics.contract import SequenceBatch, SequenceStatistics, WorldModel
from vmc.models.two_hot import SYMEXP_BINS, expected_value, two_hot_loss

# Terminations weigh as if they were this share of the steps, but not more than in the original (`restart_factor` of
# hardmaru's `doomrnn/doomrnn.py`): what they weigh more, the mixture gets less of the clipped gradient.
_TERMINATION_SHARE, _MAX_TERMINATION_WEIGHT = 0.03, 10.0
# A squared error would let rewards like CarRacing's -100 dominate: beyond ten standard deviations it is linear.
_HUBER_DELTA = 10.0


# How a reward is learnt: by its squared error, or as classes on a logarithmic scale.
SQUARED, TWO_HOT = REWARDS = ("squared", "two-hot")


class WithOutcomes(WorldModel):
    """A world model whose expected reward and probability of termination are linear in some vector of its own.

    A kind calls `make_outcome_heads` when it makes its layers.
    """

    bins: Tensor
    reward_scale: Tensor
    termination_weight: Tensor

    def make_outcome_heads(self, width: int, rewards: str = SQUARED) -> None:
        """The heads, of vectors of this width.

        Args:
            rewards: one of `REWARDS`.
        """
        self._two_hot = rewards == TWO_HOT
        self.reward = nn.Linear(width, len(SYMEXP_BINS) if self._two_hot else 1)
        self.register_buffer("bins", SYMEXP_BINS, persistent=False)
        self.termination = nn.Linear(width, 1)
        # The reward head works in units of the training rewards' standard deviation.
        self.register_buffer("reward_scale", torch.ones(()))
        # By how much the loss weighs terminations, which are rare, above their frequency.
        self.register_buffer("termination_weight", torch.ones(()))

    def outcomes(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (..., width) to expected rewards in the environment's units, and logits as weighted in training."""
        outputs = self.reward(vectors)
        rewards = expected_value(outputs, self.bins) if self._two_hot else outputs.squeeze(-1) * self.reward_scale
        return rewards, self.termination(vectors).squeeze(-1)

    def probability(self, logits: Tensor) -> Tensor:
        """The probability of termination: takes the weight of terminations in training out of their logits."""
        return (logits - self.termination_weight.log()).sigmoid()

    def outcome_losses(self, rewards: Tensor, logits: Tensor, batch: SequenceBatch) -> dict[str, Tensor]:
        """The losses of predictions (B, T), each a mean over real steps.

        `reward_loss` is twice the Huber loss of the error in units of `reward_scale`: the squared error up to ten.
        `termination_loss` is the binary cross entropy, with terminations weighted.
        """
        errors = (rewards - batch.rewards) / self.reward_scale
        reward = 2 * F.huber_loss(errors, torch.zeros_like(errors), delta=_HUBER_DELTA, reduction="none")
        termination = F.binary_cross_entropy_with_logits(
            logits, batch.terminations, pos_weight=self.termination_weight, reduction="none"
        )
        losses = {"reward_loss": reward, "termination_loss": termination}
        return {name: batch.mean(loss) for name, loss in losses.items()}

    def classified_reward_loss(self, vectors: Tensor, batch: SequenceBatch) -> Tensor:
        """The `reward_loss` of two-hot rewards (DreamerV3, equation 10), of vectors (B, T, width)."""
        return batch.mean(two_hot_loss(self.reward(vectors), batch.rewards, self.bins))

    @torch.no_grad()
    def prepare(self, statistics: SequenceStatistics) -> None:
        super().prepare(statistics)
        self.reward_scale.fill_(statistics.reward_scale)
        self.termination_weight.fill_(_termination_weight(statistics))
        self._predict_the_mean_termination(statistics)
        if self._two_hot:  # all classes are equally likely, so the expected reward is 0
            self.reward.weight.zero_()
            self.reward.bias.zero_()

    @torch.no_grad()
    def adapt(self, statistics: SequenceStatistics, relabelled: bool) -> None:
        """Measures rewards in the new data's standard deviation, and weighs terminations by their new rarity.

        The heads move with them, so that M predicts what it did. A controller gets other rewards than a random
        policy: in the old units their errors would outweigh the mixture's loss.
        """
        super().adapt(statistics, relabelled)
        if not self._two_hot:
            ratio = self.reward_scale / statistics.reward_scale
            self.reward.weight.mul_(ratio)
            self.reward.bias.mul_(ratio)
        self.reward_scale.fill_(statistics.reward_scale)
        weight = _termination_weight(statistics)
        self.termination.bias.add_((weight / self.termination_weight).log())
        self.termination_weight.fill_(weight)
        if relabelled:
            self._predict_the_mean_termination(statistics)

    def used_dimensions(self) -> Tensor:
        """The latent dimensions in use, by their numbers (D,); all of them where the mask leaves none."""
        mask = self.latent_mask if self.latent_mask.any() else ~self.latent_mask
        numbers: Tensor = mask.nonzero()[:, 0]
        return numbers

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
