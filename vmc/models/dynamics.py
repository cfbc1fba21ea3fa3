"""M: the MDN-RNN, p(z', r, terminated | z, a, h) (paper, section 2.2 and appendix A.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vmc.models.mixture import Mixture, mixture_from_outputs


@dataclass(frozen=True)
class DynamicsSettings:
    """M's shape.

    Attributes:
        latent_size: Z.
        action_size: A.
        hidden_size: H, the LSTM's width; 256 in the paper.
        num_mixtures: K, Gaussians per latent dimension; 5 in the paper.
    """

    latent_size: int
    action_size: int
    hidden_size: int = 256
    num_mixtures: int = 5


class Hidden(NamedTuple):
    """M's state: the LSTM's output h and cell c, each (B, H). C sees h."""

    h: Tensor
    c: Tensor


class Prediction(NamedTuple):
    """What M says of the next step.

    Attributes:
        mixture: over the next latent, fields (..., Z, K).
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
        self.lstm = nn.LSTM(z + settings.action_size, h, batch_first=True)
        self.mixture = nn.Linear(h, 3 * z * k)
        self.reward = nn.Linear(h, 1)
        self.termination = nn.Linear(h, 1)
        # The reward head works in units of the training rewards' standard deviation; set once by the trainer.
        self.register_buffer("reward_scale", torch.ones(()))
        # By how much the trainer weighed terminations, which are rare, above their frequency.
        self.register_buffer("termination_weight", torch.ones(()))

    def initial_hidden(self, batch_size: int) -> Hidden:
        """The state before the first step of an episode: zeros, (B, H)."""
        zeros = self.reward_scale.new_zeros(batch_size, self.settings.hidden_size)
        return Hidden(zeros, zeros)

    def forward(self, latents: Tensor, actions: Tensor, hidden: Hidden) -> tuple[Prediction, Hidden]:
        """Predicts every next step of a sequence.

        Args:
            latents: (B, T, Z).
            actions: (B, T, A).
            hidden: the state before the first step.

        Returns:
            Predictions with leading shape (B, T), and the state after the last step.
        """
        state = (hidden.h.unsqueeze(0), hidden.c.unsqueeze(0))
        outputs, (h, c) = self.lstm(torch.cat([latents, actions], dim=-1), state)
        return self.heads(outputs), Hidden(h.squeeze(0), c.squeeze(0))

    def step(self, latents: Tensor, actions: Tensor, hidden: Hidden) -> Hidden:
        """One step of the state alone: (B, Z), (B, A) and the state before, to the state after."""
        inputs = torch.cat([latents, actions], dim=-1)
        h, c = torch.lstm_cell(inputs, (hidden.h, hidden.c), *self.lstm.all_weights[0])
        return Hidden(h, c)

    def heads(self, h: Tensor) -> Prediction:
        """(..., H) outputs of the LSTM to predictions."""
        mixture = mixture_from_outputs(self.mixture(h), self.settings.latent_size)
        reward = self.reward(h).squeeze(-1) * self.reward_scale
        return Prediction(mixture, reward, self.termination(h).squeeze(-1))
