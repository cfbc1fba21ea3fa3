import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vmc.cli import BENCHES, main

GROUPS = {
    "environment": ["official", "fast", "no drawing"],
    "policy": ["official + eager PyTorch", "fast + eager PyTorch", "fast + ONNX Runtime (vmc)"],
    "step": [
        "whole step",
        "environment, no picture",
        "environment",
        "resize",
        "V's encoder",
        "M's step",
        "C and action map",
    ],
    "workers": ["one worker", "two workers", "one worker, counting", "two workers, counting"],
    "collection": ["official + np.savez_compressed", "vmc rollouts", "nothing stored"],
    "loading": ["np.load of np.savez_compressed", "vmc's shards", "V's batches, from memory"],
    "vae": ["no loading", "vmc train-vae"],
    "mdrnn": ["no loading", "vmc train-mdrnn"],
    "dream": [
        "one at a time, eager PyTorch",
        "64 x 16 as a batch (vmc)",
        "lstm",
        "gru",
        "transformer,context=32",
        "rssm",
        "real episodes, fast environment",
        "64 x 16, threads",
        "64 x 16, processes (vmc)",
    ],
}


def test_every_bench_is_known() -> None:
    assert set(GROUPS) == set(BENCHES)


@pytest.mark.parametrize("bench", GROUPS)
def test_a_bench_measures_what_it_names(bench: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    arguments = ["bench", "--only", bench, "--rounds", "1", "--steps", "20", "--json", str(path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    figures = json.loads(path.read_text())
    assert [row["name"] for row in figures["results"]] == GROUPS[bench]
    for row in figures["results"]:
        assert row["rate"] > 0
        assert row["name"] in result.output
        assert (row["baseline"] is None) == (row["ratio"] is None)
        assert (row["floor"] is None) == (row["floor_share"] is None)
    assert figures["machine"]["gemm_gflops"] > 0
    assert "torch" in figures["versions"]
