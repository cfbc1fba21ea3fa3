from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ToyRun, toy_settings

import vmc.stages.encode
from vmc.stages.collect import collect
from vmc.stages.encode import ensure_latents
from vmc.stages.train_vae import train_vae
from vmc.storage.latents import Latents
from vmc.storage.rollouts import RolloutDataset

CPU = torch.device("cpu")


def _latents(run: Path, data: Path) -> Latents:
    return ensure_latents(run, RolloutDataset(data), CPU)[0]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the episodes that were encoded, in order."""
    numbers: list[int] = []
    encode = vmc.stages.encode._encode

    def watched(vae: object, dataset: object, episodes: list) -> dict:
        numbers.extend(episode.index for episode in episodes)
        return encode(vae, dataset, episodes)

    monkeypatch.setattr(vmc.stages.encode, "_encode", watched)
    return numbers


def test_fresh_latents_are_read(toy: ToyRun, encoded: list[int]) -> None:
    _latents(toy.run, toy.data)
    assert encoded == []


def test_only_new_episodes_are_encoded_and_all_equal_a_whole_encoding(toy: ToyRun, encoded: list[int]) -> None:
    before = len(RolloutDataset(toy.data).episodes)
    collect(toy_settings("rollouts", episodes=before + 3), toy.data, None, 0)
    grown = _latents(toy.run, toy.data)
    assert encoded == [before, before + 1, before + 2]
    (toy.run / "latents.h5").unlink()
    whole = _latents(toy.run, toy.data)
    np.testing.assert_array_equal(grown.index, whole.index)
    np.testing.assert_array_equal(grown.means, whole.means)
    np.testing.assert_array_equal(grown.rewards, whole.rewards)


def test_another_v_encodes_all_again(toy: ToyRun, encoded: list[int]) -> None:
    before = len(RolloutDataset(toy.data).episodes)
    train_vae(toy_settings("train-vae", epochs=8), toy.data, toy.run, "cpu")
    _latents(toy.run, toy.data)
    assert len(encoded) == before
