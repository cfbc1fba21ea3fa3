import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import TOY, ToyRun

from vmc.cli import main
from vmc.models.checkpoints import dynamics_checkpoint, load_controller, vae_checkpoint
from vmc.stages.export import export_run
from vmc.storage.metrics import read_metrics


def _ablate(toy: ToyRun, to: Path, *rows: str) -> str:
    arguments = ["ablate", *rows, "--env", TOY, "--preset", "smoke", "--from", str(toy.run), "--to", str(to)]
    search = ["--set", "generations=2", "--set", "population_size=4", "--workers", "0"]
    result = CliRunner().invoke(main, [*arguments, *search], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_rows_are_searched_tested_and_kept_in_the_tables_order(toy_session: ToyRun, tmp_path: Path) -> None:
    _ablate(toy_session, tmp_path, "random")
    output = _ablate(toy_session, tmp_path, "v-only-hidden", "untrained-m", "full")
    rows = {row["row"]: row for row in json.loads((tmp_path / "ablation.json").read_text())}
    assert list(rows) == ["full", "v-only-hidden", "untrained-m", "random"]
    for name, row in rows.items():
        test = json.loads((tmp_path / name / "test.json").read_text())
        assert (row["mean"], row["std"], row["ci95"]) == (test["mean"], test["std"], test["ci95"])
        assert name in output
        assert (row["real_frames"] == 0) == (name == "random")
    assert (tmp_path / "searches.png").stat().st_size > 0
    # One and the same test for all.
    assert len({str([e["seed"] for e in _test(tmp_path, name)]) for name in rows}) == 1


def _test(folder: Path, name: str) -> list[dict[str, float]]:
    return list(json.loads((folder / name / "test.json").read_text())["episodes"])


def test_rows_share_v_and_differ_where_they_say(toy_session: ToyRun, tmp_path: Path) -> None:
    _ablate(toy_session, tmp_path, "full", "v-only-hidden", "untrained-m")
    vae = vae_checkpoint(toy_session.run, TOY)
    dynamics = {}
    for name in ("full", "v-only-hidden", "untrained-m"):
        assert vae_checkpoint(tmp_path / name, TOY).sha256 == vae.sha256
        dynamics[name] = dynamics_checkpoint(tmp_path / name, vae)
        controller = load_controller(tmp_path / name, vae, dynamics[name]).settings
        assert controller.inputs == ("z" if name == "v-only-hidden" else "zh")
        assert controller.hidden_units == (40 if name == "v-only-hidden" else 0)
    shared = dynamics_checkpoint(toy_session.run, vae).sha256
    assert dynamics["full"].sha256 == dynamics["v-only-hidden"].sha256 == shared
    assert dynamics["untrained-m"].sha256 != shared
    assert export_run(tmp_path / "full", tmp_path / "copy") > 0  # it can be given away, moments to dream from included


def test_a_finished_row_is_left_alone(toy_session: ToyRun, tmp_path: Path) -> None:
    _ablate(toy_session, tmp_path, "v-only")
    before = read_metrics(tmp_path / "v-only" / "controller")
    _ablate(toy_session, tmp_path, "v-only")
    assert read_metrics(tmp_path / "v-only" / "controller") == before


def test_the_dreams_row_never_takes_its_fitness_from_reality(toy_session: ToyRun, tmp_path: Path) -> None:
    _ablate(toy_session, tmp_path, "dream")
    lines = read_metrics(tmp_path / "dream" / "controller")
    assert lines
    assert all(line["dream"] for line in lines)
    (row,) = json.loads((tmp_path / "ablation.json").read_text())
    frames = sum(record["metrics"].get("real steps", 0) for record in json.loads(_read(tmp_path, "run.json")))
    assert row["real_frames"] > frames  # the data as well


def _read(folder: Path, name: str) -> str:
    return (folder / "dream" / name).read_text()


def test_an_unknown_row_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["ablate", "v-onyl", "--to", str(tmp_path)])
    assert result.exit_code == 2
    assert "Did you mean 'v-only'?" in result.output


@pytest.mark.parametrize("folder", ["vae", "mdrnn"])
def test_a_source_without_models_is_told(folder: str, toy: ToyRun, tmp_path: Path) -> None:
    (toy.run / folder / "best.json").unlink()
    arguments = ["ablate", "full", "--env", TOY, "--preset", "smoke", "--from", str(toy.run), "--to", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "Error: " in result.output
    assert "best.json" in result.output


def test_rows_can_share_an_exported_v_and_m(toy_session: ToyRun, tmp_path: Path) -> None:
    """Of float16, which the rows must not write again in another width: M belongs to exactly that V."""
    exported = tmp_path / "exported"
    export_run(toy_session.run, exported)
    _ablate(ToyRun(toy_session.data, exported), tmp_path / "rows", "v-only")
    assert vae_checkpoint(tmp_path / "rows" / "v-only").sha256 == vae_checkpoint(exported).sha256
