"""`vmc inspect` lists all that is missing or corrupt, and goes on with the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import ToyRun, toy_settings

from vmc.cli import main
from vmc.stages.evaluate import evaluate_controller


def _inspect(path: Path) -> Result:
    return CliRunner().invoke(main, ["inspect", str(path)])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_all_that_is_missing_or_corrupt_in_a_run_is_listed(toy: ToyRun) -> None:
    missing = next((toy.run / "vae").glob("best-weights-*"))
    missing.unlink()
    corrupt = [next((toy.run / "mdrnn").glob("latest-state-*")), toy.run / "mdrnn" / "starts.json"]
    for path in corrupt:
        _flip(path)
    (toy.run / "test.json").write_text("{}")
    result = _inspect(toy.run)
    assert result.exit_code == 1
    assert f"{missing} is missing, but best.json names it." in result.stdout
    for path in corrupt:
        assert f"{path} is corrupt" in result.stdout
    assert f"{toy.run / 'test.json'} is damaged" in result.stdout
    assert result.stdout.count("C, 41 numbers") == 2  # what is intact is told as ever
    assert "latents of" in result.stdout
    assert "Restore it from a copy, or remove best.json and latest.json in" in result.stdout
    assert f"Error: {toy.run}: 4 files are missing or corrupt" in result.stderr


@pytest.mark.parametrize("name", ["run.json", "vae/config.json", "controller/metrics.jsonl", "mdrnn/report.json"])
def test_damaged_json_is_a_fault(name: str, toy: ToyRun) -> None:
    (toy.run / name).write_text("{garbage\n")
    result = _inspect(toy.run)
    assert result.exit_code == 1
    assert str(toy.run / name) in result.stdout
    assert "1 file is missing or corrupt" in result.stderr
    if name in ("run.json", "controller/metrics.jsonl"):
        report = CliRunner().invoke(main, ["report", str(toy.run)])
        assert report.exit_code == 1
        assert f"{toy.run / name} is damaged" in report.stderr


def test_a_sidecar_that_is_missing_is_a_fault(toy: ToyRun) -> None:
    (toy.run / "vae" / "best.json").unlink()
    result = _inspect(toy.run)
    assert result.exit_code == 1
    assert f"There is no checkpoint {toy.run / 'vae' / 'best.json'}" in result.stdout
    assert "1 file is missing or corrupt" in result.stderr


def test_every_shard_that_is_corrupt_is_listed(toy: ToyRun) -> None:
    first, second, *_ = sorted(toy.data.glob("*.h5"))
    first.write_bytes(first.read_bytes()[:1000])
    _flip(second)
    result = _inspect(toy.data)
    assert result.exit_code == 1
    for path in (first, second):
        assert str(path) in result.stdout
    assert "2 files are missing or corrupt" in result.stderr


@pytest.mark.parametrize("name", ["best.json", "latest.json"])
def test_a_checkpoint_alone(name: str, toy: ToyRun) -> None:
    assert _inspect(toy.run / "mdrnn" / name).exit_code == 0
    next((toy.run / "mdrnn").glob(f"{name[:-5]}-weights-*")).unlink()
    result = _inspect(toy.run / "mdrnn" / name)
    assert result.exit_code == 1
    assert f"is missing, but {name} names it" in result.stdout


def test_results_with_other_names_are_listed(toy: ToyRun) -> None:
    result = evaluate_controller(toy_settings("test", episodes=2), toy.data, toy.run, "cpu", 0)
    (toy.run / "test.json").rename(toy.run / "test-2-episodes-seed-1.json")
    (toy.run / "test-temperatures.json").write_text("[]")
    found = _inspect(toy.run)
    assert found.exit_code == 0, found.stderr
    score = f"{result['mean']:.1f} ± {result['std']:.1f} over 2 episodes on vmc/Toy-v0"
    assert f"test-2-episodes-seed-1.json: {score}" in found.stdout
