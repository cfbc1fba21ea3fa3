"""How often a run's test seeds have been used: a test that has met many Cs chooses among them, as validation does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from vmc.storage.files import CannotWriteError, read_json, readable, write_json

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
    noted = _noted(path)
    met = noted.setdefault(env, {}).setdefault(str(seed), [])
    if controller not in met:
        met.append(controller)
        with suppress(CannotWriteError):
            write_json(path, noted)
    return len(met)


def _noted(path: Path) -> dict[str, dict[str, list[str]]]:
    """The hashes of the Cs, by environment and test seed."""
    noted = read_json(path, _WAY_OUT)
    noted = {} if noted is None else noted
    with readable(path, _WAY_OUT):
        hashes = [each for seeds in noted.values() for met in seeds.values() for each in met]
        if not all(isinstance(each, str) for each in hashes) or not all(map(_is_list, noted.values())):
            raise ValueError
    return dict(noted)


def _is_list(seeds: dict[str, object]) -> bool:
    return all(isinstance(met, list) for met in seeds.values())


def copy_uses(run: Path, to: Path) -> None:
    """Notes for a copy of a run what its original's Cs have met."""
    if (run / FILE).exists():
        write_json(to / FILE, read_json(run / FILE, _WAY_OUT))
