"""An untrained M by a stage's settings, and what is kept beside its arrays."""

from __future__ import annotations

from typing import Any

from vmc.envs import get_task
from vmc.models.dynamics.contract import WorldModel
from vmc.models.loading import dynamics_info, make_dynamics
from vmc.seeding import seeded_initialisation
from vmc.stages.settings import TrainMDRNNSettings
from vmc.storage.latents import Latents


def new_dynamics(settings: TrainMDRNNSettings, latent_size: int, action_size: int) -> WorldModel:
    """An M with its first weights.

    Raises:
        VmcError: there is no such kind, or it has no such setting.
    """
    sizes = {"latent_size": latent_size, "action_size": action_size}
    hidden_size = get_task(settings.env).hidden_size
    with seeded_initialisation(settings.seed):
        return make_dynamics(settings.dynamics, hidden_size=hidden_size, mixture=settings.mixture, **sizes)


def widths(latents: Latents) -> tuple[int, int]:
    """Z and A of a data set."""
    return latents.means.shape[1], latents.actions.shape[1]


def dynamics_facts(settings: TrainMDRNNSettings, model: WorldModel, action_map: dict[str, Any]) -> dict[str, Any]:
    """What M's checkpoints say of it, V's hash apart."""
    kept = {name: getattr(settings, name) for name in ("sample_latents", "no_reward_limit")}
    return dynamics_info(settings.dynamics, model) | {"action_map": action_map, **kept}
