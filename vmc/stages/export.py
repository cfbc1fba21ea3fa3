"""A trained agent to give away: V, M, C and moments to dream from, in ten megabytes, with what they were made from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vmc.errors import VmcError
from vmc.models.checkpoints import (
    STARTS,
    TRAIN_CONTROLLER,
    TRAIN_MDRNN,
    controller_folder,
    dynamics_checkpoint,
    dynamics_folder,
    load_controller,
    vae_checkpoint,
    vae_folder,
)
from vmc.report.card import write_card
from vmc.stages.seed_uses import copy_uses
from vmc.storage.checkpoint import Arrays, Checkpoint, load_checkpoint, save_checkpoint
from vmc.storage.files import read_json

# M's states are half of what is left of the ten megabytes; a dream needs a few places to begin, not all.
_MOST_STARTS = 128


def export_run(run: Path, to: Path) -> int:
    """Writes the best V and M of a run, and starts of dreams, as float16 into the folder `to`, and C as it is.

    What is written is a run that drives, dreams and can be tested, and cannot be trained further: the state of the
    optimisers and of the search stays behind. Rounding to float16 changes an output by about a thousandth; the score
    of the copy is to be measured, not that of the original.

    Returns:
        How many bytes of weights were written.

    Raises:
        VmcError: V, M, C or the starts missing or corrupt, or they do not belong together; `to` is the run itself.
    """
    if to.resolve() == run.resolve():
        raise VmcError(f"{to} is the run itself.", "Give another folder with --to.")
    vae = vae_checkpoint(run)
    dynamics = dynamics_checkpoint(run, vae)
    load_controller(run, vae, dynamics)
    controller = load_checkpoint(controller_folder(run), "best", TRAIN_CONTROLLER)
    starts = load_checkpoint(dynamics_folder(run), STARTS, TRAIN_MDRNN)
    copy_uses(run, to)
    vae_hash = save_checkpoint(vae_folder(to), "best", vae.info, _halved(vae.weights), graphs=vae.graphs)
    info = dynamics.info | {"vae": vae_hash}
    dynamics_hash = save_checkpoint(
        dynamics_folder(to), "best", info, _halved(dynamics.weights), graphs=dynamics.graphs
    )
    kept = slice(None, None, -(-len(starts.weights["means"]) // _MOST_STARTS))
    moments = {name: array[kept] for name, array in starts.weights.items()}
    save_checkpoint(dynamics_folder(to), STARTS, starts.info | {"dynamics": dynamics_hash}, _halved(moments))
    info = controller.info | {"vae": vae_hash, "dynamics": dynamics_hash}
    save_checkpoint(controller_folder(to), "best", info, controller.weights)
    return sum(path.stat().st_size for path in to.glob("*/*.safetensors"))


def describe_copy(run: Path, copy: Path, test: dict[str, Any]) -> Path:
    """Writes the copy's model card, `README.md`: what it is, its score, and how `run` came about."""
    vae = vae_checkpoint(copy)
    dynamics = dynamics_checkpoint(copy, vae)
    controller = load_controller(copy, vae, dynamics)
    models = [
        f"V: {vae.info['kind']}, {_shape(vae.info['model'])}, {_parameters(vae)} parameters",
        f"M: {dynamics.info['kind']}, {_shape(dynamics.info['model'])}, {_parameters(dynamics)} parameters",
        f"C: {_shape(asdict(controller.settings))}, {controller.settings.num_parameters} parameters",
    ]
    if controller.planning is not None:
        models.append(f"planner: {_shape(asdict(controller.planning))}")
    record = run / "run.json"
    records = read_json(record, "Remove it: the card is then made without it.") or []
    path = copy / "README.md"
    write_card(path, copy.name, test, models, records)
    return path


def _shape(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())


def _parameters(checkpoint: Checkpoint) -> str:
    return f"{sum(array.size for array in checkpoint.weights.values()):,}"


def _halved(arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Floats as float16; masks as they are."""
    halved = {name: a.astype(np.float16) if a.dtype.kind == "f" else a for name, a in arrays.items()}
    for name, array in halved.items():
        if not np.isfinite(array).all():
            raise VmcError(f"{name} holds numbers beyond float16's 65,504.", "This model cannot be exported.")
    return halved
