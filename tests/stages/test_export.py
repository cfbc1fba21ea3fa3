import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ToyRun, toy_settings

from vmc.cli import main
from vmc.dream.loading import load_dream
from vmc.errors import VmcError
from vmc.models.checkpoints import dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.stages.evaluate import evaluate_controller
from vmc.stages.export import export_run
from vmc.storage.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def test_the_copy_drives_dreams_and_is_half_as_wide(toy: ToyRun, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    size = export_run(toy.run, copy)
    original = sum(next(toy.run.glob(f"{part}/best-weights-*")).stat().st_size for part in ("vae", "mdrnn"))
    assert size < 0.6 * original + 300_000  # and a few starts of dreams
    settings = toy_settings("test", episodes=4)
    copied, whole = (evaluate_controller(settings, toy.data, run, "cpu", 0) for run in (copy, toy.run))
    assert copied["mean"] == pytest.approx(whole["mean"], abs=2)
    assert copied["controller"] == whole["controller"]  # C is as it was
    assert 0 < len(load_dream(copy).starts) <= 128


def test_weights_are_rounded_and_read_as_float32(toy: ToyRun, tmp_path: Path) -> None:
    export_run(toy.run, tmp_path / "copy")
    rounded, original = vae_checkpoint(tmp_path / "copy").weights, vae_checkpoint(toy.run).weights
    for name, array in original.items():
        assert rounded[name].dtype == array.dtype
        np.testing.assert_allclose(rounded[name], array, rtol=1e-3, atol=1e-6)
    assert original["mean.weight"].dtype == np.float32
    np.testing.assert_array_equal(rounded["latent_mask"], original["latent_mask"])


def test_the_copy_holds_nothing_of_the_optimisers(toy: ToyRun, tmp_path: Path) -> None:
    export_run(toy.run, tmp_path / "copy")
    assert not list((tmp_path / "copy").glob("*/latest*"))
    sidecar = json.loads((tmp_path / "copy" / "controller" / "best.json").read_text())
    assert set(sidecar["files"]) == {"weights"}


@pytest.mark.parametrize("stage", ["train-vae", "train-mdrnn", "train-controller"])
def test_training_does_not_replace_what_an_exported_run_holds(stage: str, toy: ToyRun, tmp_path: Path) -> None:
    copy, controller = tmp_path / "copy", toy.run / "controller"
    best = load_checkpoint(controller, "best", "")
    save_checkpoint(controller, "best", best.info | {"generation": 3}, best.weights)  # the toy's may be the first
    export_run(toy.run, copy)
    before = {path: path.read_bytes() for path in copy.rglob("best*")}
    shared = ["--env", "vmc/Toy-v0", "--preset", "smoke", "--data", str(toy.data), "--run", str(copy)]
    result = CliRunner().invoke(main, [stage, *shared])
    assert result.exit_code == 1
    assert "without the state to go on from" in result.output
    assert before == {path: path.read_bytes() for path in copy.rglob("best*")}


def test_onto_itself_is_refused(toy: ToyRun) -> None:
    with pytest.raises(VmcError, match="is the run itself"):
        export_run(toy.run, toy.run / ".." / toy.run.name)


def test_the_card_tells_the_copys_score_and_how_it_was_made(toy: ToyRun, tmp_path: Path) -> None:
    records = [
        {"round": 0, "stage": "rollouts", "settings": {"seed": 7}, "seconds": 75.0, "metrics": {"episodes": 14}},
        {"round": 1, "stage": "test", "settings": {"seed": 7}, "seconds": 5.0, "metrics": {"mean": 12.5}},
    ]
    (toy.run / "run.json").write_text(json.dumps(records))
    arguments = ["export", "--run", str(toy.run), "--to", str(tmp_path / "gift"), "--episodes", "3", "--workers", "0"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    score = json.loads((tmp_path / "gift" / "test.json").read_text())
    card = (tmp_path / "gift" / "README.md").read_text()
    assert f"**{score['mean']:.0f} ± {score['std']:.0f}** over 3 episodes" in card
    assert score["controller"] == load_controller(tmp_path / "gift", *_models(tmp_path / "gift")).sha256
    assert "`vmc run --env vmc/Toy-v0 --seed 7 --rounds 2`, 1 min 20 s:" in card
    assert "| 1 | rollouts | 1 min 15 s | episodes 14 |" in card
    controller = load_controller(tmp_path / "gift", *_models(tmp_path / "gift")).settings
    assert f"{controller.num_parameters} parameters" in card


def test_a_smaller_test_of_the_copy_leaves_the_better_one_on_its_card(toy: ToyRun, tmp_path: Path) -> None:
    gift = tmp_path / "gift"
    command = ["export", "--run", str(toy.run), "--to", str(gift), "--workers", "0", "--episodes"]
    for episodes in ("4", "2"):
        result = CliRunner().invoke(main, [*command, episodes], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert f"{gift / 'test.json'} keeps its 4 episodes" in result.output
    assert "over 4 episodes" in (gift / "README.md").read_text()


def _models(run: Path) -> tuple[Checkpoint, Checkpoint]:
    vae = vae_checkpoint(run)
    return vae, dynamics_checkpoint(run, vae)
