"""M: the MDN-RNN, p(z', r, terminated | z, a, h) (paper, section 2.2 and appendix A.2)."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from vmc.models.backbones import make_backbone
from vmc.models.backbones.contract import Backbone, Hidden
from vmc.models.dynamics_settings import DynamicsSettings
from vmc.models.mixture import MIN_LOG_STD, Mixture, mixture_from_outputs


class Prediction(NamedTuple):
    """What M says of the next step.

    Attributes:
        mixture: over the next latent.
        reward: expected reward, in the environment's units, (...).
        termination_logit: of the probability of termination, as re-weighted in training, (...).
    """

    mixture: Mixture
    reward: Tensor
    termination_logit: Tensor


class MDNRNN(nn.Module):
    """An LSTM with a mixture head, a reward head and a termination head.

    The paper's M has 422,368 parameters for Z 32, A 3, H 256, K 5. PyTorch's LSTM carries a second bias (1,024
    more) and the two extra heads have 257 each: 423,906 here.
    """

    reward_scale: Tensor
    termination_weight: Tensor

    def __init__(self, settings: DynamicsSettings) -> None:
        super().__init__()
        self.settings = settings
        z, h, k = settings.latent_size, settings.hidden_size, settings.num_mixtures
        # Under the kind's own name, so that the names of the arrays in a checkpoint say what they belong to.
        self.add_module(settings.backbone, make_backbone(settings.backbone, z + settings.action_size, h))
        self.mixture = nn.Linear(h, (settings.num_weight_sets + 2 * z) * k)
        self.reward = nn.Linear(h, 1)
        self.termination = nn.Linear(h, 1)
        # The reward head works in units of the training rewards' standard deviation; set once by the trainer.
        self.register_buffer("reward_scale", torch.ones(()))
        # By how much the trainer weighed terminations, which are rare, above their frequency.
        self.register_buffer("termination_weight", torch.ones(()))

    @property
    def backbone(self) -> Backbone:
        """What carries the state."""
        return cast(Backbone, self.get_submodule(self.settings.backbone))

    @torch.no_grad()
    def silence(self, dimensions: Tensor) -> None:
        """Predicts 0, as surely as a mixture may, in latent dimensions that V has silenced, by their numbers (D,)."""
        size, k = self.settings.latent_size, self.settings.num_mixtures
        means, log_stds = self.mixture.weight.shape[0] - 2 * size * k, self.mixture.weight.shape[0] - size * k
        rows = (dimensions[:, None] * k + torch.arange(k, device=dimensions.device)).flatten()
        for first, value in ((means, 0.0), (log_stds, MIN_LOG_STD)):
            self.mixture.weight[first + rows] = 0.0
            self.mixture.bias[first + rows] = value

    def active_dimensions(self) -> Tensor:
        """The numbers of the latent dimensions that are not silenced, (D,); all of them where all are."""
        z, k = self.settings.latent_size, self.settings.num_mixtures
        weights, biases = (part[-2 * z * k :].unflatten(0, (2, z, k)) for part in self.mixture.parameters())
        fixed = (biases[0] == 0).all(dim=1) & (biases[1] == MIN_LOG_STD).all(dim=1)
        active = weights.flatten(2).any(dim=2).any(dim=0) | ~fixed
        found: Tensor = (active if active.any() else ~active).nonzero()[:, 0]
        return found

    def initial_hidden(self, batch_size: int) -> Hidden:
        """The state before the first step of an episode: zeros."""
        widths = (self.settings.hidden_size, self.settings.cell_size)
        return Hidden(*(self.reward_scale.new_zeros(batch_size, width) for width in widths))

    def forward(self, latents: Tensor, actions: Tensor, hidden: Hidden) -> tuple[Prediction, Hidden]:
        """Predicts every next step of a sequence.

        Args:
            latents: (B, T, Z).
            actions: (B, T, A).
            hidden: the state before the first step.

        Returns:
            Predictions with leading shape (B, T), and the state after the last step.
        """
        outputs, hidden = self.backbone.unroll(torch.cat([latents, actions], dim=-1), hidden)
        return self.heads(outputs), hidden

    def step(self, latents: Tensor, actions: Tensor, hidden: Hidden) -> Hidden:
        """One step of the state alone: (B, Z), (B, A) and the state before, to the state after."""
        return self.backbone.step(torch.cat([latents, actions], dim=-1), hidden)

    def heads(self, h: Tensor) -> Prediction:
        """(..., H) outputs of the backbone to predictions."""
        mixture = mixture_from_outputs(self.mixture(h), self.settings.latent_size, self.settings.num_mixtures)
        reward = self.reward(h).squeeze(-1) * self.reward_scale
        return Prediction(mixture, reward, self.termination(h).squeeze(-1))

    def termination_probability(self, logit: Tensor) -> Tensor:
        """The probability of termination: what training has weighed is taken out of its logit."""
        return (logit - self.termination_weight.log()).sigmoid()
