import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TOY, ToyRun, toy_settings

import vmc.stages.training
from vmc.bench.models import make_latents
from vmc.config import make_settings
from vmc.envs import CARRACING
from vmc.errors import VmcError
from vmc.models.agent import load_agent, load_body
from vmc.models.checkpoints import vae_folder
from vmc.models.controller import LinearController
from vmc.models.dynamics.mdn import MDN
from vmc.models.dynamics.noise import draw_noise
from vmc.models.loading import load_dynamics, load_vae
from vmc.models.vision.contract import CERTAIN_LOG_VARIANCE
from vmc.recipes import find_recipe
from vmc.stages.collect import collect
from vmc.stages.encode import ensure_latents
from vmc.stages.settings import TrainMDRNNSettings
from vmc.stages.train_mdrnn import DynamicsTraining, train_mdrnn
from vmc.stages.train_vae import VAETraining, train_vae
from vmc.stages.training import WAITING, Clocked
from vmc.storage.checkpoint import load_checkpoint
from vmc.storage.latents import Latents
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


@pytest.mark.parametrize("stage", ["train-vae", "train-mdrnn"])
def test_the_kept_settings_are_those_that_were_trained(stage: str, toy: ToyRun) -> None:
    """Also where others are refused, or ask for less than there is: on other data, too."""
    train: Any = train_vae if stage == "train-vae" else train_mdrnn
    config = toy.run / ("vae" if stage == "train-vae" else "mdrnn") / "config.json"
    before = config.read_bytes()
    with pytest.raises(VmcError, match=r"batch_size = .*; now it is 3"):
        train(toy_settings(stage, batch_size=3), toy.data, toy.run, "cpu")
    assert config.read_bytes() == before
    done = train(toy_settings(stage, epochs=2), toy.data, toy.run, "cpu")
    state = done[0] if isinstance(done, tuple) else done
    assert re.fullmatch(rf". in {config.parent} has {state.epoch} epochs already\.", state.nothing_to_do)
    assert config.read_bytes() == before
    collect(toy_settings("rollouts", episodes=18), toy.data, None, 0)
    if stage == "train-mdrnn":
        with pytest.raises(VmcError, match="dynamics = lstm; now it is gru"):
            train(toy_settings(stage, dynamics="gru"), toy.data, toy.run, "cpu")
        assert config.read_bytes() == before
    done = train(toy_settings(stage, epochs=1), toy.data, toy.run, "cpu")
    assert (done[0] if isinstance(done, tuple) else done).nothing_to_do == ""
    assert json.loads(config.read_text())["epochs"] == 1
    info = load_checkpoint(config.parent, "latest", "").info
    assert "nothing_to_do" not in info["state"]


def test_a_training_that_ended_early_says_why(
    toy_session: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = VAETraining.validate
    monkeypatch.setattr(VAETraining, "validate", lambda training: {**validate(training), "loss": 1.0})
    for _ in range(2):
        state = train_vae(toy_settings("train-vae", epochs=9, patience=2), toy_session.data, tmp_path, "cpu")
    told = f"V in {tmp_path / 'vae'} ended after 2 epochs: the last 2 brought no better loss."
    assert state.nothing_to_do == told


@pytest.mark.parametrize("name", ["best", "latest"])
def test_lost_weights_can_be_trained_again(name: str, toy: ToyRun) -> None:
    """The way out that the message names: without both sidecars, the training begins again, and ends as before."""
    folder = toy.run / "vae"
    before = load_checkpoint(folder, "best", "").sha256
    next(folder.glob(f"{name}-weights-*")).unlink()
    with pytest.raises(VmcError, match=r"remove best\.json and latest\.json"):
        train_vae(toy_settings("train-vae"), toy.data, toy.run, "cpu")
    for sidecar in ("best.json", "latest.json"):
        (folder / sidecar).unlink()
    train_vae(toy_settings("train-vae"), toy.data, toy.run, "cpu")
    assert load_checkpoint(folder, "best", "").sha256 == before


def test_training_lowers_the_validation_loss(toy_session: ToyRun) -> None:
    for stage, least in (("vae", 0.3), ("mdrnn", 0.1)):
        losses = [line["val_loss"] for line in read_metrics(toy_session.run / stage)]
        assert min(losses) < (1 - least) * losses[0]


def test_the_report_of_m_holds_what_it_promises(toy_session: ToyRun) -> None:
    report = json.loads((toy_session.run / "mdrnn" / "report.json").read_text())
    assert report["reward_explained_variance"] > 0.3  # the toy's reward follows from what is seen
    assert report["nll_per_dimension"] < 1.42  # what a unit Gaussian would give


def test_new_data_begin_a_new_phase(toy: ToyRun) -> None:
    """More episodes: V goes on with its weights; M encodes again and goes on; C does not belong to them any more."""
    vae_before = load_checkpoint(toy.run / "vae", "best", "").sha256
    collect(toy_settings("rollouts", episodes=18), toy.data, None, 0)
    state = train_vae(toy_settings("train-vae", epochs=1), toy.data, toy.run, "cpu")
    assert state.phase_start == 6
    assert state.epoch == 7
    assert load_checkpoint(toy.run / "vae", "best", "").sha256 != vae_before
    with pytest.raises(VmcError, match=r"M in .* and V in .* do not belong together"):
        load_agent(toy.run, TOY)
    state, _ = train_mdrnn(toy_settings("train-mdrnn", epochs=1), toy.data, toy.run, "cpu")
    assert state.phase_start == 40
    with pytest.raises(VmcError, match=r"C in .* and V in .* do not belong together"):
        load_agent(toy.run, TOY)


def test_with_new_data_all_may_change_but_the_shape(toy: ToyRun) -> None:
    collect(toy_settings("rollouts", episodes=18), toy.data, None, 0)
    with pytest.raises(VmcError, match="was trained with dynamics = lstm; now it is gru"):
        train_mdrnn(toy_settings("train-mdrnn", dynamics="gru"), toy.data, toy.run, "cpu")
    changed = {"epochs": 1, "window": 8, "no_reward_limit": 5, "batch_size": 2}
    state, _ = train_mdrnn(toy_settings("train-mdrnn", **changed), toy.data, toy.run, "cpu")
    assert state.epoch == 41
    assert load_checkpoint(toy.run / "mdrnn", "best", "").info["no_reward_limit"] == 5


def _trained_m(toy: ToyRun) -> tuple[MDN, Latents]:
    dynamics, _ = load_dynamics(toy.run, load_vae(toy.run)[1])
    assert isinstance(dynamics, MDN)
    return dynamics, ensure_latents(toy.run, RolloutDataset(toy.data), torch.device("cpu"))[0]


def _training(latents: Latents, dynamics: MDN, **values: Any) -> tuple[DynamicsTraining, MDN]:
    """A training on these latents, with the weights of an M that was trained on others; all dimensions are in use."""
    settings, mask = toy_settings("train-mdrnn", **values), np.ones(latents.means.shape[1], bool)
    training = DynamicsTraining(settings, latents, mask, torch.device("cpu"))
    training.module.load_state_dict(dynamics.state_dict())
    assert isinstance(training.module, MDN)
    return training, training.module


def test_new_data_give_m_new_units_of_reward_and_the_same_predictions(toy_session: ToyRun) -> None:
    dynamics, latents = _trained_m(toy_session)
    training, module = _training(latents, dynamics)
    module.reward_scale.mul_(3)
    module.termination_weight.mul_(7)
    h = torch.randn(4, dynamics.settings.hidden_size)
    before, scale = module.heads(h), module.reward_scale.item()
    odds = before.termination_logits - module.termination_weight.log()
    training.begin_phase({"no_reward_limit": None})
    after = module.heads(h)
    assert module.reward_scale.item() == pytest.approx(scale / 3)
    torch.testing.assert_close(after.rewards, before.rewards)
    torch.testing.assert_close(after.termination_logits - module.termination_weight.log(), odds)


def test_where_other_steps_are_terminations_m_begins_at_their_rate(toy_session: ToyRun) -> None:
    dynamics, latents = _trained_m(toy_session)
    latents = replace(latents, rewards=latents.rewards - np.median(latents.rewards))
    training, module = _training(latents, dynamics, no_reward_limit=2)
    training.begin_phase({"no_reward_limit": None})
    steps = np.split(latents.termination_labels(2), latents.first_steps()[1:])
    rate = np.concatenate([steps[position] for position in latents.training()]).mean()
    logits = module.heads(torch.randn(4, dynamics.settings.hidden_size)).termination_logits
    predicted = (logits - module.termination_weight.log()).sigmoid()
    torch.testing.assert_close(predicted, torch.full((4,), rate, dtype=torch.float32))
    assert 0.02 < rate < 0.9


def test_new_data_may_come_with_another_latent_mask(toy_session: ToyRun) -> None:
    """M takes V's mask where it begins and where it goes on, without the dimensions that never vary in the data."""
    dynamics, latents = _trained_m(toy_session)
    latents.means[:, 3] = 1.5
    mask, varies = np.arange(8) != 6, np.ptp(latents.means, axis=0) > 0
    training = DynamicsTraining(toy_settings("train-mdrnn"), latents, mask, torch.device("cpu"))
    expected = mask & varies
    assert not expected[[3, 6]].any()
    assert expected.any()
    np.testing.assert_array_equal(training.module.latent_mask, expected)
    training.module.load_state_dict(dynamics.state_dict())
    training.begin_phase({"no_reward_limit": None})
    np.testing.assert_array_equal(training.module.latent_mask, expected)


def test_an_epoch_has_every_episode_once_beside_others_of_its_length() -> None:
    """Of lengths drawn between 20 and 100, random batches of 4 would be 30% padding; these are some 3%."""
    latents = make_latents(1, int((lengths := np.random.default_rng(0).integers(20, 101, 300)).sum() + 299))
    latents = replace(latents, lengths=lengths, index=np.arange(300), terminated=np.zeros(300, bool))
    latents = replace(latents, actions=latents.actions[: lengths.sum()], rewards=latents.rewards[: lengths.sum()])
    settings = make_settings(TrainMDRNNSettings, CARRACING, {"epochs": 1, "batch_size": 4})
    mask = np.ones(latents.means.shape[1], bool)
    training = DynamicsTraining(settings, latents, mask, torch.device("cpu"))
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
    state = train_vae(settings, toy_session.data, tmp_path, "cpu")
    losses = [line["val_loss"] for line in read_metrics(tmp_path / "vae")]
    assert state.finished
    assert losses[-1] < losses[0]


def test_cuda_where_there_is_none_is_told(toy: ToyRun) -> None:
    if torch.cuda.is_available():
        return
    with pytest.raises(VmcError, match="no CUDA device"):
        train_vae(toy_settings("train-vae"), toy.data, toy.run, "cuda")


def test_tensorboard_gets_the_metrics(toy_session: ToyRun, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_vae(toy_settings("train-vae", epochs=1), toy_session.data, tmp_path, "cpu", ["tensorboard"])
    events = EventAccumulator(str(tmp_path / "vae" / "tensorboard")).Reload()
    values = [event.value for event in events.Scalars("vae/val_loss")]
    assert values == pytest.approx([line["val_loss"] for line in read_metrics(tmp_path / "vae")])


def test_the_latent_mask_leaves_out_what_v_makes_no_use_of(toy_session: ToyRun, tmp_path: Path) -> None:
    """In `best`, through which C and M see the world; `latest` trains on with all dimensions."""
    settings = toy_settings("train-vae", active_threshold=1.5)
    train_vae(settings, toy_session.data, tmp_path, "cpu")
    best, latest = (load_checkpoint(vae_folder(tmp_path), name, "vmc train-vae") for name in ("best", "latest"))
    mask = best.weights["latent_mask"]
    assert mask.dtype == np.bool_
    assert 0 < mask.sum() < len(mask)
    assert best.info["metrics"]["active_units"] == mask.sum()
    assert latest.weights["latent_mask"].all()

    train_mdrnn(toy_settings("train-mdrnn", epochs=2), toy_session.data, tmp_path, "cpu")
    latents, _ = ensure_latents(tmp_path, RolloutDataset(toy_session.data), torch.device("cpu"))
    np.testing.assert_array_equal(np.ptp(latents.means, axis=0) > 0, mask)
    assert (latents.means[:, ~mask] == 0).all()
    assert (latents.log_variances[:, ~mask] == CERTAIN_LOG_VARIANCE).all()

    dynamics, checkpoint = load_dynamics(tmp_path, load_vae(tmp_path)[1])
    np.testing.assert_array_equal(checkpoint.weights["latent_mask"], mask)
    state = dynamics.initial(torch.randn(5, 8))
    noise = draw_noise([np.random.default_rng(row) for row in range(5)], 1, dynamics.noise_sizes, torch.device("cpu"))
    numbers = type(noise)(*(part[0] for part in noise))
    for imaginer in (dynamics, dynamics.frozen()):  # the reference, and what dreams use
        imagined = dynamics.latents(imaginer.imagine(state, torch.zeros(5, 1), numbers, 1.0).state)
        assert (imagined[:, ~mask] == 0).all()
        assert imagined[:, mask].all()
    # The agent's V is an exported graph of its own.
    body = load_body(tmp_path, TOY)
    agent, shape = body.agent(), body.controller_shape("zh")
    agent.use(LinearController(shape, np.zeros(shape.num_parameters)))
    agent.reset(np.random.default_rng(0))
    latent = agent.act(np.zeros((64, 64, 3), np.uint8)).latent
    assert latent is not None
    np.testing.assert_allclose(latent[~mask], 0, atol=1e-3)  # drawn with a standard deviation of 5e-5
    assert (np.abs(latent[mask]) > 1e-3).all()


def test_without_a_threshold_all_dimensions_are_in_use(toy_session: ToyRun, tmp_path: Path) -> None:
    settings = toy_settings("train-vae", epochs=1, active_threshold=0)
    train_vae(settings, toy_session.data, tmp_path, "cpu")
    assert load_checkpoint(vae_folder(tmp_path), "best", "vmc train-vae").weights["latent_mask"].all()


def test_the_papers_recipe_keeps_all_dimensions() -> None:
    assert find_recipe("paper", "CarRacing-v3").options("train-vae")["active_threshold"] == 0
