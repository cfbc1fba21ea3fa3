from pathlib import Path

import pytest
from click.testing import CliRunner

import vmc.bench.estimate
from vmc.bench.estimate import Rates, estimate_run
from vmc.cli import main
from vmc.errors import VmcError
from vmc.pipeline import PipelineSettings
from vmc.recipes import find_recipe

RATES = Rates(collect=1000.0, drive=500.0, vae=100.0, mdrnn=10_000.0, dream=100_000.0, frame_bytes=1000.0)


def _settings(preset: str, env: str = "CarRacing-v3") -> PipelineSettings:
    return PipelineSettings(find_recipe(preset, env), Path("data"), Path("run"), "cpu", 2)


def test_the_papers_run_is_what_the_paper_says() -> None:
    """10,000 episodes of 1,000 steps; 1,800 generations of 64 x 16, the mean on 1,024 episodes every 25."""
    found = estimate_run(_settings("paper"), RATES)
    costs = {cost.stage: cost for cost in found.costs}
    assert costs["rollouts"].work == 10_000 * 1000
    assert costs["train-vae"].work == 9_000 * 1000 * 10  # every tenth episode is held out
    assert costs["train-vae"].seconds == pytest.approx(900_000)
    episodes = 1800 * 64 * 16 + (1 + 1800 // 25) * 1024
    assert costs["train-controller"].work == episodes * 1000
    assert found.real_frames == 10_000 * 1000 + episodes * 1000
    assert found.disk == pytest.approx(1e7 * (1000 + 4 * (2 * 32 + 3 + 1)))
    assert found.memory == 4 * 2**30  # V streams what is more


def test_rounds_in_the_dream_cost_dreams_and_real_validations() -> None:
    """Five short rounds, a long one, and the last, which goes on from the best C."""
    found = estimate_run(_settings("dream"), RATES)
    searches = [cost for cost in found.costs if cost.stage == "train-controller"]
    assert {cost.unit for cost in searches} == {"dream steps"}
    assert [cost.work for cost in searches] == [
        *(20 * 64 * 16 * 400 for _ in range(5)),
        60 * 64 * 16 * 400,
        280 * 64 * 32 * 400,
    ]
    # Before the first generation and after each 20th, in the long round each 10th, at last on more tracks.
    validated = [1000 * number for number in (*(16 * 2 for _ in range(5)), 16 * 7, 32 * 15)]
    assert searches[0].seconds == pytest.approx(searches[0].work / 100_000 + validated[0] / 500)
    collected = 300 * 200 + 4 * 80 * 500 + 80 * 700
    assert found.real_frames == pytest.approx(collected + sum(validated))


def test_the_command_prints_and_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmc.bench.estimate, "measure_rates", lambda workers, device: RATES)
    folders = ["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    result = CliRunner().invoke(main, ["run", "--preset", "paper", "--estimate", *folders], catch_exceptions=False)
    assert "90,000,000 frames" in result.output
    assert "250 h" in result.output  # 900,000 s of V
    assert list(tmp_path.iterdir()) == []


def test_other_environments_are_told_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(vmc.bench.estimate, "measure_rates")
    with pytest.raises(VmcError, match="CarRacing-v3 only, not vmc/Toy-v0"):
        estimate_run(_settings("smoke", env="vmc/Toy-v0"))
