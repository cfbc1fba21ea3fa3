"""The distribution's name and version; packages that only some parts of vmc need, and how to install each."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from vmc.errors import VmcError

# The name that pip knows. (`vmc` on PyPI is another project.) The import and the command are called `vmc`.
DISTRIBUTION = "vmc-worldmodels"
# That of the code in use, which is not always the one that pip has installed.
VERSION = "0.1.0"


class Extra(NamedTuple):
    """An optional dependency: each package's own name, and the module that it provides."""

    titles: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def absent(self) -> list[str]:
        """The names of the packages that cannot be imported; nothing is imported here."""
        return [title for title, module in zip(self.titles, self.modules, strict=True) if find_spec(module) is None]


# By the names of `[project.optional-dependencies]` in pyproject.toml.
EXTRAS = {
    "doom": Extra(("ViZDoom",), ("vizdoom",)),
    "play": Extra(("Starlette", "uvicorn", "websockets"), ("starlette", "uvicorn", "websockets")),
    "plots": Extra(("matplotlib", "Jinja2"), ("matplotlib", "jinja2")),
    "ray": Extra(("Ray",), ("ray",)),
    "video": Extra(("PyAV",), ("av",)),
    "tensorboard": Extra(("TensorBoard",), ("tensorboard",)),
    "wandb": Extra(("Weights & Biases",), ("wandb",)),
    "trackio": Extra(("Trackio",), ("trackio",)),
    "torchrl": Extra(("TorchRL",), ("torchrl",)),
}


def is_installed(extra: str) -> bool:
    """Whether the extra's modules can be imported; they are not imported here."""
    return not EXTRAS[extra].absent


def install_hint(extra: str) -> str:
    """How to install an extra."""
    return f"In a clone of this repository: pip install '.[{extra}]'"


def missing(extra: str, instead: str = "") -> VmcError:
    """The error for an extra that is not installed.

    Args:
        instead: what can be done without it, a phrase such as `give a .gif`.
    """
    hint, known = install_hint(extra), EXTRAS[extra]
    names = " and ".join(known.absent or known.titles)
    verb = "are" if " and " in names else "is"
    return VmcError(f"{names} {verb} not installed.", f"{hint}; or {instead}." if instead else hint)


def require(extra: str, instead: str = "") -> None:
    """Raises the error of `missing` where the extra is not installed."""
    if not is_installed(extra):
        raise missing(extra, instead)
