"""How often a run's test seeds have been used: a test that has met many Cs chooses among them, as validation does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from vmc.errors import VmcError
from vmc.storage.files import CannotWriteError, read_json, write_json

FILE = "seed-uses.json"
_WAY_OUT = "Remove it; the uses before are then forgotten."


def count_use(run: Path, env: str, seed: int, controller: str) -> int:
    """Notes that this C meets the episodes of this test seed.

    In a folder that cannot be written it is counted, but not noted.

    Args:
        controller: C's hash.

    Returns:
        How many Cs of this run have met them, this one included.

    Raises:
        VmcError: the file is damaged.
    """
    path = run / FILE
    noted = read_json(path, _WAY_OUT) if path.exists() else {}
    try:
        met = noted.setdefault(env, {}).setdefault(str(seed), [])
        is_known = controller in met
    except (AttributeError, TypeError):
        raise VmcError(f"{path} is damaged.", _WAY_OUT) from None
    if not is_known:
        met.append(controller)
        with suppress(CannotWriteError):
            write_json(path, noted)
    return len(met)


def copy_uses(run: Path, to: Path) -> None:
    """Notes for a copy of a run what its original's Cs have met."""
    if (run / FILE).exists():
        write_json(to / FILE, read_json(run / FILE, _WAY_OUT))
