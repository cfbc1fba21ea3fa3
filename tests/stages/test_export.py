import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ToyRun, toy_settings

from vmc.dream.trained import load_dream
from vmc.errors import VmcError
from vmc.models.checkpoints import vae_checkpoint
from vmc.stages.evaluate import test_controller
from vmc.stages.export import export_run


def test_the_copy_drives_dreams_and_is_half_as_wide(toy: ToyRun, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    size = export_run(toy.run, copy)
    original = sum(next(toy.run.glob(f"{part}/best-weights-*")).stat().st_size for part in ("vae", "mdrnn"))
    assert size < 0.6 * original + 300_000  # and a few starts of dreams
    settings = toy_settings("test", episodes=4)
    copied, whole = (test_controller(settings, toy.data, run, "cpu", 0) for run in (copy, toy.run))
    assert copied["mean"] == pytest.approx(whole["mean"], abs=2)
    assert copied["controller"] != whole["controller"]
    assert 0 < len(load_dream(copy).starts) <= 128


def test_weights_are_rounded_and_read_as_float32(toy: ToyRun, tmp_path: Path) -> None:
    export_run(toy.run, tmp_path / "copy")
    rounded, original = vae_checkpoint(tmp_path / "copy").weights, vae_checkpoint(toy.run).weights
    for name, array in original.items():
        assert rounded[name].dtype == np.float32
        np.testing.assert_allclose(rounded[name], array, rtol=1e-3, atol=1e-6)


def test_the_copy_holds_nothing_of_the_optimisers(toy: ToyRun, tmp_path: Path) -> None:
    export_run(toy.run, tmp_path / "copy")
    assert not list((tmp_path / "copy").glob("*/latest*"))
    sidecar = json.loads((tmp_path / "copy" / "controller" / "best.json").read_text())
    assert set(sidecar["files"]) == {"weights"}


def test_onto_itself_is_refused(toy: ToyRun) -> None:
    with pytest.raises(VmcError, match="is the run itself"):
        export_run(toy.run, toy.run / ".." / toy.run.name)
