import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun, toy_settings
from vmc.models.visions import CERTAIN_LOG_VARIANCE

import vmc.stages.training
from vmc.bench.models import make_latents
from vmc.config import make_settings
from vmc.envs import CARRACING
from vmc.errors import VmcError
from vmc.models.agent import load_agent
from vmc.models.checkpoints import vae_folder
from vmc.models.loading import load_dynamics, load_vae
from vmc.recipes import find_recipe
from vmc.stages.collect import collect
from vmc.stages.encode import ensure_latents
from vmc.stages.settings import TrainMDRNNSettings
from vmc.stages.train_mdrnn import DynamicsTraining, train_mdrnn
from vmc.stages.train_vae import VAETraining, train_vae
from vmc.stages.training import WAITING, Clocked
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.metrics import read_metrics
from vmc.storage.rollouts import RolloutDataset


class _Killed(BaseException):
    """Stands for kill -9: nothing in the program may catch it."""


def _untimed_metrics(folder: Path) -> list[dict[str, Any]]:
    timed = {"seconds", f"train_{WAITING}"}
    return [{k: v for k, v in line.items() if k not in timed} for line in read_metrics(folder)]


def _kill_at_save(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Dies right after the training loop's `number`-th checkpoint."""
    saved = []
    save = vmc.stages.training._save_latest

    def save_and_die(*args: Any) -> None:
        save(*args)
        saved.append(1)
        if len(saved) == number:
            raise _Killed

    monkeypatch.setattr(vmc.stages.training, "_save_latest", save_and_die)


def _weights(run: Path, stage: str, name: str) -> dict[str, np.ndarray]:
    return load_checkpoint(run / stage, name, "").weights


def _train(stage: str, data: Path, run: Path, **values: Any) -> None:
    if stage == "vae":
        train_vae(toy_settings("train-vae", **{"epochs": 2, **values}), data, run, "cpu")
    else:
        train_mdrnn(toy_settings("train-mdrnn", **{"epochs": 4, **values}), data, run, "cpu")


@pytest.fixture(scope="module")
def whole(toy_session: ToyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """V and M trained without a break."""
    run = tmp_path_factory.mktemp("whole")
    _train("vae", toy_session.data, run)
    _train("mdrnn", toy_session.data, run)
    return run


@pytest.mark.parametrize("stage", ["vae", "mdrnn"])
@pytest.mark.parametrize("saves", [1, 3, 6])
def test_a_killed_training_ends_where_the_whole_one_did(
    stage: str, saves: int, whole: Path, toy_session: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoints after every unit, so the kill falls into the middle of an epoch; then bit for bit."""
    if stage == "mdrnn":
        shutil.copytree(whole / "vae", tmp_path / "vae")
    with monkeypatch.context() as patch:
        patch.setattr(vmc.stages.training, "_CHECKPOINT_SECONDS", 0.0)
        _kill_at_save(patch, saves)
        with pytest.raises(_Killed):
            _train(stage, toy_session.data, tmp_path)
    _train(stage, toy_session.data, tmp_path)
    for name in ("best", "latest"):
        expected, found = _weights(whole, stage, name), _weights(tmp_path, stage, name)
        assert all(np.array_equal(expected[key], found[key]) for key in expected)
    assert _untimed_metrics(tmp_path / stage) == _untimed_metrics(whole / stage)


def test_the_time_spent_waiting_for_data_is_told(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 1.0, 4.0])
    monkeypatch.setattr(vmc.stages.training.time, "perf_counter", lambda: next(clock))
    batches = Clocked(iter("ab"))
    assert next(batches) == "a"  # came after a second
    assert batches.waiting_share() == pytest.approx(0.25)  # and three went into training on it
    monkeypatch.undo()
    for stage in ("vae", "mdrnn"):
        assert all(0 < line[f"train_{WAITING}"] < 1 for line in read_metrics(whole / stage)[1:])


def test_more_epochs_at_a_constant_rate_equal_the_longer_training(toy_session: ToyRun, tmp_path: Path) -> None:
    for epochs, folder in ((2, "whole"), (1, "parts"), (2, "parts")):
        _train("vae", toy_session.data, tmp_path / folder, epochs=epochs, final_lr_fraction=1.0)
    expected, found = (_weights(tmp_path / folder, "vae", "latest") for folder in ("whole", "parts"))
    assert all(np.array_equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize("stage", [VAETraining, DynamicsTraining])
def test_the_learning_rate_falls_along_a_line(
    stage: Any, toy_session: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    train_batch = stage.train_batch

    def watched(training: Any, batch: Any) -> dict[str, float]:
        rates.append(training.optimizer.param_groups[0]["lr"])
        return dict(train_batch(training, batch))

    monkeypatch.setattr(stage, "train_batch", watched)
    if stage is DynamicsTraining:
        shutil.copytree(toy_session.run / "vae", tmp_path / "vae")
    values = {"epochs": 2, "learning_rate": 1e-3, "final_lr_fraction": 0.2}
    _train("vae" if stage is VAETraining else "mdrnn", toy_session.data, tmp_path, **values)
    assert len(rates) >= 4
    assert rates == pytest.approx(np.linspace(1e-3, 0.2e-3, len(rates) + 1)[:-1])


def test_a_finished_training_is_left_alone(whole: Path, toy_session: ToyRun) -> None:
    before = {path: path.stat().st_mtime_ns for path in (whole / "vae").glob("*.safetensors")}
    _train("vae", toy_session.data, whole)
    assert before == {path: path.stat().st_mtime_ns for path in (whole / "vae").glob("*.safetensors")}


@pytest.mark.parametrize("stage", ["train-vae", "train-mdrnn"])
def test_other_settings_are_refused_by_name(stage: str, toy: ToyRun) -> None:
    train: Any = train_vae if stage == "train-vae" else train_mdrnn
    with pytest.raises(VmcError, match=r"learning_rate = .*; now it is 0\.5"):
        train(toy_settings(stage, learning_rate=0.5), toy.data, toy.run, "cpu")


def test_training_lowers_the_held_out_loss(toy_session: ToyRun) -> None:
    for stage, least in (("vae", 0.3), ("mdrnn", 0.1)):
        losses = [line["val_loss"] for line in read_metrics(toy_session.run / stage)]
        assert min(losses) < (1 - least) * losses[0]


def test_the_report_of_m_holds_what_it_promises(toy_session: ToyRun) -> None:
    report = json.loads((toy_session.run / "mdrnn" / "report.json").read_text())
    assert report["reward_explained_variance"] > 0.3  # the toy's reward follows from what is seen
    assert report["nll_per_dimension"] < 1.42  # what a unit Gaussian would give


def test_new_data_begin_a_new_phase(toy: ToyRun) -> None:
    """More episodes: V goes on with its weights, M encodes anew and goes on, and C refuses to be a stranger."""
    vae_before = load_checkpoint(toy.run / "vae", "best", "").sha256
    collect(toy_settings("rollouts", episodes=18), toy.data, None, 0)
    counters = train_vae(toy_settings("train-vae", epochs=1), toy.data, toy.run, "cpu")
    assert counters.phase_start == 6
    assert counters.epoch == 7
    assert load_checkpoint(toy.run / "vae", "best", "").sha256 != vae_before
    with pytest.raises(VmcError, match=r"M in .* and V in .* do not belong together"):
        load_agent(toy.run, TOY)
    counters, _ = train_mdrnn(toy_settings("train-mdrnn", epochs=1), toy.data, toy.run, "cpu")
    assert counters.phase_start == 40
    with pytest.raises(VmcError, match=r"C in .* and V in .* do not belong together"):
        load_agent(toy.run, TOY)


def test_with_new_data_all_may_change_but_the_shape(toy: ToyRun) -> None:
    collect(toy_settings("rollouts", episodes=18), toy.data, None, 0)
    with pytest.raises(VmcError, match="was trained with dynamics = lstm; now it is gru"):
        train_mdrnn(toy_settings("train-mdrnn", dynamics="gru"), toy.data, toy.run, "cpu")
    changed = {"epochs": 1, "window": 8, "no_reward_limit": 5, "batch_size": 2}
    counters, _ = train_mdrnn(toy_settings("train-mdrnn", **changed), toy.data, toy.run, "cpu")
    assert counters.epoch == 41
    assert load_checkpoint(toy.run / "mdrnn", "best", "").info["no_reward_limit"] == 5


def test_new_data_give_m_new_units_of_reward_and_the_same_predictions(toy_session: ToyRun) -> None:
    dynamics, _ = load_dynamics(toy_session.run, load_vae(toy_session.run)[1])
    latents, _ = ensure_latents(toy_session.run, RolloutDataset(toy_session.data), torch.device("cpu"))
    training = DynamicsTraining(toy_settings("train-mdrnn"), latents, torch.device("cpu"))
    training.module.load_state_dict(dynamics.state_dict())
    training.module.reward_scale.mul_(3)
    training.module.termination_weight.mul_(7)
    h = torch.randn(4, dynamics.settings.hidden_size)
    before, scale = training.module.heads(h), training.module.reward_scale.item()
    odds = before.termination_logit - training.module.termination_weight.log()
    training.begin_phase({"no_reward_limit": None})
    after = training.module.heads(h)
    assert training.module.reward_scale.item() == pytest.approx(scale / 3)
    torch.testing.assert_close(after.reward, before.reward)
    torch.testing.assert_close(after.termination_logit - training.module.termination_weight.log(), odds)


def test_where_other_steps_are_terminations_m_begins_at_their_rate(toy_session: ToyRun) -> None:
    dynamics, _ = load_dynamics(toy_session.run, load_vae(toy_session.run)[1])
    latents, _ = ensure_latents(toy_session.run, RolloutDataset(toy_session.data), torch.device("cpu"))
    latents = replace(latents, rewards=latents.rewards - np.median(latents.rewards))
    training = DynamicsTraining(toy_settings("train-mdrnn", no_reward_limit=2), latents, torch.device("cpu"))
    training.module.load_state_dict(dynamics.state_dict())
    training.begin_phase({"no_reward_limit": None})
    steps = np.split(latents.termination_labels(2), latents.first_steps()[1:])
    rate = np.concatenate([steps[position] for position in latents.training()]).mean()
    logits = training.module.heads(torch.randn(4, dynamics.settings.hidden_size)).termination_logit
    said = (logits - training.module.termination_weight.log()).sigmoid()
    torch.testing.assert_close(said, torch.full((4,), rate, dtype=torch.float32))
    assert 0.02 < rate < 0.9


def test_an_epoch_has_every_episode_once_beside_others_of_its_length() -> None:
    """Of lengths drawn between 20 and 100, random batches of 4 would be 30% padding; these are some 3%."""
    latents = make_latents(1, int((lengths := np.random.default_rng(0).integers(20, 101, 300)).sum() + 299))
    latents = replace(latents, lengths=lengths, index=np.arange(300), terminated=np.zeros(300, bool))
    latents = replace(latents, actions=latents.actions[: lengths.sum()], rewards=latents.rewards[: lengths.sum()])
    settings = make_settings(TrainMDRNNSettings, CARRACING, {"epochs": 1, "batch_size": 4})
    training = DynamicsTraining(settings, latents, torch.device("cpu"))
    epochs = [[batch.mask for batch in training.batches(epoch, 0)] for epoch in (0, 1)]
    for masks in epochs:
        assert len(masks) == training.num_units() == 68
        found = torch.cat([mask.sum(dim=1) for mask in masks])
        assert sorted(found.tolist()) == sorted(lengths[latents.training()])
        assert found.sum() > 0.92 * sum(mask.numel() for mask in masks)
    longest = [[mask.shape[1] for mask in masks] for masks in epochs]
    assert longest[0] != longest[1]
    assert longest[0] != sorted(longest[0])


def test_too_few_frames_for_a_batch_are_told(toy_session: ToyRun, tmp_path: Path) -> None:
    with pytest.raises(VmcError, match="do not fill one batch"):
        train_vae(toy_settings("train-vae", batch_size=5000), toy_session.data, tmp_path, "cpu")


def test_streamed_frames_train_as_well(toy_session: ToyRun, tmp_path: Path) -> None:
    settings = toy_settings("train-vae", epochs=2, memory_gib=0.002)
    counters = train_vae(settings, toy_session.data, tmp_path, "cpu")
    losses = [line["val_loss"] for line in read_metrics(tmp_path / "vae")]
    assert counters.finished
    assert losses[-1] < losses[0]


def test_cuda_where_there_is_none_is_told(toy: ToyRun) -> None:
    if torch.cuda.is_available():
        return
    with pytest.raises(VmcError, match="no CUDA device"):
        train_vae(toy_settings("train-vae"), toy.data, toy.run, "cuda")


def test_tensorboard_gets_the_metrics(toy_session: ToyRun, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_vae(toy_settings("train-vae", epochs=1), toy_session.data, tmp_path, "cpu", tensorboard=True)
    events = EventAccumulator(str(tmp_path / "vae" / "tensorboard")).Reload()
    values = [event.value for event in events.Scalars("val_loss")]
    assert values == pytest.approx([line["val_loss"] for line in read_metrics(tmp_path / "vae")])


def test_dimensions_that_v_makes_no_use_of_are_silenced_in_what_is_kept(toy_session: ToyRun, tmp_path: Path) -> None:
    """In `best`, which C and M see the world through, not in `latest`, which trains on. M is judged by the rest."""
    settings = toy_settings("train-vae", active_threshold=1.5)
    train_vae(settings, toy_session.data, tmp_path, "cpu")
    best, latest = (load_checkpoint(vae_folder(tmp_path), name, "vmc train-vae") for name in ("best", "latest"))
    silent = ~best.weights["mean.weight"].any(axis=1)
    assert 0 < silent.sum() < len(silent)
    assert best.info["metrics"]["active_dimensions"] == (~silent).sum()
    assert (best.weights["log_variance.bias"][silent] == CERTAIN_LOG_VARIANCE).all()
    assert latest.weights["mean.weight"].any(axis=1).all()
    train_mdrnn(toy_settings("train-mdrnn", epochs=2), toy_session.data, tmp_path, "cpu")
    latents, _ = ensure_latents(tmp_path, RolloutDataset(toy_session.data), torch.device("cpu"))
    np.testing.assert_array_equal(latents.active(), ~silent)
    dynamics, _ = load_dynamics(tmp_path, load_vae(tmp_path)[1])
    mixture = dynamics.heads(torch.randn(5, dynamics.settings.hidden_size)).mixture
    assert (mixture.means[:, silent] == 0).all()
    assert mixture.means[:, ~silent].all()


def test_the_papers_preset_silences_nothing() -> None:
    assert find_recipe("paper", "CarRacing-v3").options("train-vae")["active_threshold"] == 0
