"""M's shape, apart from M: worker processes and the command line read it and import no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmc.errors import VmcError
from vmc.models.backbones import BACKBONES

# How many sets of component weights a mixture over Z latent dimensions has: each dimension its own (hardmaru's), or
# one for all, whose components are then Gaussians of the whole latent (as in the best-known PyTorch port).
MIXTURES: dict[str, Callable[[int], int]] = {"per-dimension": lambda latent_size: latent_size, "shared": lambda _: 1}


@dataclass(frozen=True)
class DynamicsSettings:
    """M's shape.

    Attributes:
        latent_size: Z.
        action_size: A.
        hidden_size: H, the backbone's width; 256 in the paper.
        num_mixtures: K, Gaussians in each mixture; 5 in the paper.
        backbone: one of `BACKBONES`.
        mixture: one of `MIXTURES`.

    Raises:
        VmcError: a backbone or a mixture that there is not.
    """

    latent_size: int
    action_size: int
    hidden_size: int = 256
    num_mixtures: int = 5
    backbone: str = "lstm"
    mixture: str = "per-dimension"

    def __post_init__(self) -> None:
        for what, name, table in (("backbone", self.backbone, BACKBONES), ("mixture", self.mixture, MIXTURES)):
            if name not in table:
                raise VmcError(f"There is no {what} {name!r}.", f"Choose one of {', '.join(table)}.")

    @property
    def num_weight_sets(self) -> int:
        """W, how many sets of K weights the mixture has."""
        return MIXTURES[self.mixture](self.latent_size)

    @property
    def cell_size(self) -> int:
        """The width of c in M's state: H, or 0 for a backbone without a cell."""
        return self.hidden_size if BACKBONES[self.backbone].has_cell else 0
