"""Noise on C's outputs that a policy gradient explains what it learns by. No torch: workers have none."""

from __future__ import annotations

import numpy as np

from vmc.models.controller import Array, Features, LinearController


def draw_output_noise(rng: np.random.Generator, shape: tuple[int, ...], is_discrete: bool) -> Array:
    """Gumbel noise for discrete actions: the largest noisy output is then a draw from their softmax."""
    drawn = rng.gumbel(size=shape) if is_discrete else rng.standard_normal(shape)
    return drawn.astype(np.float32)


class NoisyController:
    """C with new noise on its outputs at each step: a `Controller`.

    Args:
        scale: of the noise.
    """

    def __init__(self, controller: LinearController, scale: float, is_discrete: bool) -> None:
        self._controller, self._scale, self._is_discrete = controller, np.float32(scale), is_discrete

    def reset(self, rng: np.random.Generator) -> None:
        """Begins an episode, whose noise comes from its own stream."""
        self._rng = rng

    def act(self, features: Features) -> Array:
        """Outputs and noise."""
        outputs = self._controller.act(features)
        outputs += self._scale * draw_output_noise(self._rng, outputs.shape, self._is_discrete)
        return outputs
