import pytest
from conftest import ToyRun

from vmc.errors import VmcError
from vmc.stages.provenance import interrupted_parts, read_models
from vmc.storage.checkpoint import load_checkpoint, save_checkpoint


def test_the_parts_of_a_run_and_their_hashes(toy_session: ToyRun) -> None:
    models = read_models(toy_session.run)
    assert list(models) == ["V", "M", "C"]
    assert models["C"].num_parameters == 41
    assert models["C"].info["vae"] == models["V"].sha256
    assert models["M"].sha256 == load_checkpoint(toy_session.run / "mdrnn", "best", "vmc train-mdrnn").sha256
    assert all(model.fault is None and model.versions["vmc"] for model in models.values())


def test_what_is_not_there_is_left_out(toy: ToyRun) -> None:
    (toy.run / "controller" / "best.json").unlink()
    assert list(read_models(toy.run)) == ["V", "M"]


def test_corrupt_weights_are_told_and_a_corrupt_sidecar_is_an_error(toy: ToyRun) -> None:
    (weights,) = (toy.run / "vae").glob("best-weights-*")
    weights.write_bytes(b"0")
    model = read_models(toy.run)["V"]
    assert model.num_parameters is None
    assert str(weights) in str(model.fault)
    (toy.run / "vae" / "best.json").write_text("{}")
    with pytest.raises(VmcError, match=r"best\.json"):
        read_models(toy.run)


def test_a_search_that_was_stopped_is_told(toy: ToyRun) -> None:
    assert interrupted_parts(toy.run) == []
    latest = load_checkpoint(toy.run / "controller", "latest", "vmc train-controller")
    info = {**latest.info, "finished": False}
    save_checkpoint(toy.run / "controller", "latest", info, latest.weights, latest.state)
    assert interrupted_parts(toy.run) == ["C"]
