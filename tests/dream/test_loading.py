"""What a run keeps for its dreams."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small_dream import make_dream, save_dynamics, save_run

from vmc.dream.loading import load_dream
from vmc.dream.settings import DreamSettings
from vmc.envs.action_map import BoxActionMap, OneHotActionMap
from vmc.envs.actions import OneHot
from vmc.errors import VmcError
from vmc.models.checkpoints import controller_folder
from vmc.models.loading import load_vae
from vmc.seeding import stream
from vmc.storage.checkpoint import save_checkpoint


def test_a_run_alone_is_dreamed(tmp_path: Path) -> None:
    saved, loaded = save_run(tmp_path), load_dream(tmp_path)
    assert loaded.action_space == saved.action_space
    assert loaded.settings == saved.settings == DreamSettings()
    generators = [[stream(seed, "test") for seed in range(20)] for _ in range(2)]
    for found, expected in zip(loaded.starts.draw(generators[0]), saved.starts.draw(generators[1]), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_starts_of_another_m_are_refused(tmp_path: Path) -> None:
    save_run(tmp_path)
    save_dynamics(tmp_path, make_dream(seed=1).dynamics, load_vae(tmp_path)[1].sha256)
    with pytest.raises(VmcError, match=r"holds states of another M(.|\n)*vmc train-mdrnn"):
        load_dream(tmp_path)


def test_missing_and_damaged_starts_are_errors(tmp_path: Path) -> None:
    save_run(tmp_path)
    (arrays,) = (tmp_path / "mdrnn").glob("starts-*.safetensors")
    content = arrays.read_bytes()
    arrays.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(VmcError, match="corrupt"):
        load_dream(tmp_path)
    (tmp_path / "mdrnn" / "starts.json").unlink()
    with pytest.raises(VmcError, match=r"no checkpoint .*starts\.json(.|\n)*vmc train-mdrnn"):
        load_dream(tmp_path)


def test_a_dream_has_the_settings_that_its_controller_was_evolved_with(tmp_path: Path) -> None:
    save_run(tmp_path)
    settings = DreamSettings(temperature=1.2, horizon=70, sample_termination=True)
    parameters = {"parameters": np.zeros(3)}
    save_checkpoint(controller_folder(tmp_path), "best", {"dream": dataclasses.asdict(settings)}, parameters)
    assert load_dream(tmp_path).settings == settings


def test_discrete_actions_stay_discrete(tmp_path: Path) -> None:
    save_run(tmp_path, action_map=OneHotActionMap(2))
    assert isinstance(load_dream(tmp_path).action_space, OneHot)


def test_the_bounds_of_actions_keep_their_bits(tmp_path: Path) -> None:
    action_map = BoxActionMap.from_bounds([-1 / 3, 0.1], [1e-7, np.pi])
    save_run(tmp_path, action_map=action_map)
    space = load_dream(tmp_path).action_space
    assert space.dtype == np.float32
    np.testing.assert_array_equal(space.low, action_map.low)
    np.testing.assert_array_equal(space.high, action_map.high)
