from pathlib import Path

import pytest
from click.testing import CliRunner

import vmc.bench.estimate
import vmc.bench.trial
from vmc.bench.estimate import Rates, estimate_run
from vmc.bench.trial import measure_stages
from vmc.cli import main
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


def test_any_other_environment_is_measured_by_a_small_trial(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CartPole: an episode of a random policy is short, V is the identity, and C's episodes may last 500 steps."""
    monkeypatch.setattr(vmc.bench.trial, "_SECONDS", 0.1)
    found = estimate_run(_settings("laptop", env="CartPole-v1"))
    assert "First this machine is measured" in capsys.readouterr().err
    costs = {cost.stage: cost for cost in found.costs}
    assert 100 * 10 < costs["rollouts"].work < 100 * 60
    assert costs["train-vae"].seconds == 0
    assert costs["train-controller"].work == (30 * 16 * 3 + 16 * (1 + 30 // 5)) * 500
    assert costs["test"].work == 100 * 500
    assert all(0 < cost.seconds < 3600 for stage, cost in costs.items() if stage != "train-vae")
    assert found.memory < found.disk < 2**20


def test_pictures_are_measured_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmc.bench.trial, "_SECONDS", 0.1)
    rates = measure_stages(_settings("smoke", env="vmc/Toy-v0"))
    assert all(0 < rate < 1e7 for rate in (rates.collect, rates.drive, rates.vae, rates.mdrnn, rates.dream))
    assert rates.memory_bytes == 64 * 64 * 3
    assert rates.random_length is not None
    assert rates.random_length <= 40
