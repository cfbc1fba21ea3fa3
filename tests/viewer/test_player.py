"""A page's episodes, without a server: the session's own thread, and a queue in place of the network."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import TOY, ToyRun, toy_settings
from page_client import Page

from vmc.cli import main
from vmc.envs import make_env
from vmc.envs.toy import ToyEnv
from vmc.episode import Trajectory, run_episode
from vmc.models.agent import load_agent
from vmc.seeding import env_seed, stream
from vmc.stages.encode import ensure_latents
from vmc.stages.train_mdrnn import train_mdrnn
from vmc.storage.rollouts import RolloutDataset
from vmc.viewer.messages import parse
from vmc.viewer.player import Player

RUN = "the run"


@contextmanager
def playing(
    run: Path, data: Path, speed: float = 1000.0, others: dict[str, Path] | None = None, **beginning: Any
) -> Iterator[Page]:
    """A page on which a run is being played."""
    inbox: queue.Queue[str | bytes] = queue.Queue()
    session = Player({RUN: run, **(others or {})}, data, inbox.put, data.parent)
    thread = threading.Thread(target=session.run)
    thread.start()
    page = Page(lambda text: session.obey(parse(text)), lambda: inbox.get(timeout=60))
    try:
        page.send("begin", run=RUN, **beginning)
        page.event("opened")
        page.event("begun")
        page.send("speed", steps=speed)
        yield page
    finally:
        session.close()
        thread.join(30)
        assert not thread.is_alive()


def test_the_controller_drives_the_episode_that_the_library_drives(toy_session: ToyRun, tmp_path: Path) -> None:
    number = env_seed(3, "play", 0)
    env, trajectory = make_env(TOY), Trajectory()
    expected = run_episode(
        env, load_agent(toy_session.run, TOY), number, stream(number, "agent"), trajectory=trajectory
    )
    with playing(toy_session.run, tmp_path / "data", seed=3) as page:
        end = page.until(lambda message: bool(message.get("ended")))
        page.send("save")
        page.event("saved")
        page.send("save")  # the same episode, in place of the first
        saved = page.event("saved")
    assert (end["step"], end["return"]) == (expected.episode_length, expected.episode_return)
    assert end["ended"] == ("terminated" if expected.terminated else "truncated")
    (stored,) = RolloutDataset(tmp_path / "data").episodes
    episode = RolloutDataset(tmp_path / "data").read(stored)
    assert RolloutDataset(tmp_path / "data").sources[stored.path].policy["name"] == "controller"
    assert saved["file"] == str(stored.path)
    np.testing.assert_array_equal(episode.frames, trajectory.frames)
    np.testing.assert_array_equal(episode.actions, trajectory.actions)
    assert (episode.terminated, episode.truncated) == (expected.terminated, expected.truncated)


def test_a_person_takes_the_wheel_and_gives_it_back(toy_session: ToyRun, tmp_path: Path) -> None:
    with playing(toy_session.run, tmp_path / "data") as page:
        page.send("pause")
        page.view(paused=True)
        page.send("press", key="ArrowRight", number=7)
        page.send("step")
        taken = page.view(driver="person")
        page.send("press", key="ArrowRight", strength=0)
        page.send("pause", paused=False)
        page.view(driver="controller")
    assert taken["input"] == 7
    assert taken["action"] == [1.0]


def test_paused_nothing_moves_and_a_step_is_one_step(toy_session: ToyRun, tmp_path: Path) -> None:
    with playing(toy_session.run, tmp_path / "data") as page:
        page.send("pause")
        before = page.view(paused=True)
        page.send("step")
        after = page.view(step=before["step"] + 1)
        page.send("look-at", index=1)
        again = page.view()
    assert again["step"] == after["step"]
    assert again["mixture"]["index"] == 1


def test_a_dream_begins_at_the_present_state_and_reality_waits(toy_session: ToyRun, tmp_path: Path) -> None:
    with playing(toy_session.run, tmp_path / "data") as page:
        page.send("pause")
        awake = page.view(paused=True)
        page.send("fall-asleep")
        asleep = page.view(world="dream", step=0)
        for step in range(1, 4):
            page.send("step")
            page.view(world="dream", step=step)
        page.send("wake-up")
        woken = page.view(world="reality")
        page.send("step")
        page.view(world="reality", step=awake["step"] + 1)
    assert asleep["parts"]["z"] == awake["parts"]["z"]
    for name in asleep["parts"]:
        if name.startswith("feature"):
            assert asleep["parts"][name] == awake["parts"][name]
    assert (woken["step"], woken["return"]) == (awake["step"], awake["return"])
    assert woken["parts"] == awake["parts"]


def test_reality_goes_on_after_a_dream_as_if_there_had_been_none(toy_session: ToyRun, tmp_path: Path) -> None:
    returns = []
    for sleeps in (False, True):
        with playing(toy_session.run, tmp_path / "data", seed=5) as page:
            if sleeps:
                page.send("fall-asleep")
                page.view(world="dream")
                page.send("wake-up")
            end = page.until(lambda message: message.get("world") == "reality" and bool(message.get("ended")))
            returns.append((end["step"], end["return"]))
    assert returns[0] == returns[1]


@pytest.mark.parametrize("world", ["reality", "dream"])
def test_a_dragged_latent_changes_the_picture_at_once(world: str, toy_session: ToyRun, tmp_path: Path) -> None:
    picture = {"reality": "V's reconstruction", "dream": "M's dream"}[world]
    with playing(toy_session.run, tmp_path / "data", world=world) as page:
        page.send("pause")
        before = page.view(paused=True)
        used = int(np.abs(np.frombuffer(before["parts"]["z"], "<f4")).argmax())
        value = -float(np.sign(np.frombuffer(before["parts"]["z"], "<f4")[used])) * 3
        page.send("drag", index=used, value=value)
        after = page.view()
        page.send("drag", index=used, value=value, held=True)
        page.view()
        page.send("step")
        held = page.view(step=before["step"] + 1)
        page.send("drag", index=used, value=value)
        page.send("step")
        released = page.view(step=before["step"] + 2)
    z = np.frombuffer(after["parts"]["z"], "<f4")
    assert z[used] == np.frombuffer(held["parts"]["z"], "<f4")[used] == value
    assert np.frombuffer(released["parts"]["z"], "<f4")[used] != value
    assert after["step"] == before["step"]
    assert after["parts"][picture] != before["parts"][picture]


def test_a_dream_is_the_same_from_the_same_link_and_another_at_another_temperature(
    toy_session: ToyRun, tmp_path: Path
) -> None:
    def dreamed(temperature: float) -> bytes:
        link = {"world": "dream", "start": 2, "seed": 1, "temperature": temperature}
        with playing(toy_session.run, tmp_path / "data", **link) as page:
            page.send("pause")
            step = int(page.view(paused=True)["step"])
            while step < 5:
                page.send("step")
                step += 1
                view = page.view(step=step)
            return bytes(view["parts"]["z"])

    assert dreamed(1.0) == dreamed(1.0)
    assert dreamed(1.0) != dreamed(2.5)


def test_again_is_the_same_episode_and_a_dream_woken_from_a_moment_becomes_reality(
    toy_session: ToyRun, tmp_path: Path
) -> None:
    with playing(toy_session.run, tmp_path / "data", world="dream", start=0) as page:
        page.send("pause")
        page.view(paused=True)
        page.send("again")
        first = page.view(world="dream", step=0)
        page.send("again")
        second = page.view(world="dream", step=0)
        page.send("wake-up")
        page.view(world="reality", step=0)
    assert first["parts"] == second["parts"]


def test_what_cannot_be_done_is_told_and_the_page_goes_on(toy_session: ToyRun, tmp_path: Path) -> None:
    with playing(toy_session.run, tmp_path / "data", world="dream") as page:
        page.send("save")
        assert "Wake up first" in page.event("error")["message"]
        page.send("drag", index=99, value=0)
        assert "no latent 99" in page.event("error")["message"]
        page.send("drag", index=0, value=1e30)
        assert "beyond 10" in page.event("error")["message"]
        page.send("record", format="gif")
        page.send("record")
        assert page.event("recorded")["file"].endswith(".gif")
        page.send("begin", run="other")
        assert "no run 'other'" in page.event("error")["message"]
        page.send("begin", run=RUN, world="dream", start=10**6)
        assert "no recorded moment" in page.event("error")["message"]
        page.send("pause")
        assert "Nothing is played" in page.event("error")["message"]
        page.send("begin", run=RUN)
        page.view(world="reality")


def test_an_error_of_the_environment_is_told_and_the_episode_can_begin_again(
    toy_session: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    step, calls = ToyEnv.step, iter(range(1000))

    def failing(self: ToyEnv, action: Any) -> Any:
        if next(calls) == 5:
            raise RuntimeError("the engine is gone")
        return step(self, action)

    monkeypatch.setattr(ToyEnv, "step", failing)
    with playing(toy_session.run, tmp_path / "data") as page:
        assert "the engine is gone" in page.event("error")["message"]
        page.send("again")
        page.until(lambda message: bool(message.get("ended")))
    assert "Traceback" in capfd.readouterr().err


def test_two_pages_do_not_disturb_each_other(toy_session: ToyRun, tmp_path: Path) -> None:
    def end(page: Page) -> dict[str, Any]:
        return page.until(lambda message: bool(message.get("ended")))

    with playing(toy_session.run, tmp_path / "data", seed=3) as alone:
        expected = end(alone)
    with (
        playing(toy_session.run, tmp_path / "a", seed=3) as page,
        playing(toy_session.run, tmp_path / "b", seed=4, world="dream") as other,
    ):
        other.send("press", key="ArrowLeft")
        found = end(page)
        end(other)
    assert (found["step"], found["return"], found["parts"]) == (expected["step"], expected["return"], expected["parts"])


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_a_recording_is_a_film_that_plays(ending: str, toy_session: ToyRun, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with playing(toy_session.run, tmp_path / "data") as page:
        page.send("pause")
        page.view(paused=True)
        page.send("record", format=ending)
        step = int(page.view(recording=True)["step"])
        for number in range(12):
            page.send("step")
            page.view(step=step + number + 1)
        page.send("record")
        name = page.event("recorded")["file"]
    with av.open(str(tmp_path / name)) as film:
        frames = list(film.decode(video=0))
    assert len(frames) == (13 if ending == "mp4" else 3)
    assert frames[0].width >= 3 * 256


def test_a_human_drive_trains_v_and_m_like_any_other(toy: ToyRun, tmp_path: Path) -> None:
    """The saved shard is added to the toy's data, and V encodes it."""
    with playing(toy.run, toy.data) as page:
        page.send("press", key="ArrowLeft")
        page.until(lambda message: message.get("driver") == "person")
        page.send("press", key="ArrowLeft", strength=0)
        page.until(lambda message: bool(message.get("ended")))
        page.send("save")
        saved = page.event("saved")
    dataset = RolloutDataset(toy.data)
    assert dataset.sources[dataset.episodes[-1].path].policy["name"] == "human and controller"
    assert 0 < saved["human_steps"] < saved["steps"]
    latents, _ = ensure_latents(toy.run, dataset, torch.device("cpu"))
    assert len(latents.lengths) == len(dataset.episodes)


def test_an_m_of_ones_own_plays_and_without_a_controller_the_person_drives(toy: ToyRun, tmp_path: Path) -> None:
    """Its state is unlike the others', and it has no mixture."""
    run = tmp_path / "own"
    shutil.copytree(toy.run / "vae", run / "vae")
    train_mdrnn(toy_settings("train-mdrnn", dynamics="tiny_dynamics:TinyDynamics", epochs=1), toy.data, run, "cpu")
    with playing(run, tmp_path / "data") as page:
        page.send("pause")
        awake = page.view(paused=True)
        page.send("fall-asleep")
        asleep = page.view(world="dream", step=0)
        page.send("drag", index=0, value=1.0)
        page.view(world="dream", step=0)
        page.send("step")
        page.view(world="dream", step=1, driver="person")
        page.send("wake-up")
        page.view(world="reality", step=awake["step"])
    assert "mixture" not in awake
    assert asleep["parts"]["z"] == awake["parts"]["z"]


@pytest.mark.parametrize(
    ("given", "picture"),
    [
        (["--set", "train-vae.vision=dense", "--set", "train-mdrnn.dynamics=gru"], "jpeg"),
        (["--pixels", "--set", "train-mdrnn.dynamics=neural-ode"], "rgb"),
    ],
)
def test_vectors_pictures_of_them_and_discrete_actions(
    given: list[str], picture: str, toy_session: ToyRun, tmp_path: Path
) -> None:
    """V's and M's panels are lines where the environment shows vectors; the environment shows its own picture."""
    folders = ["--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    result = CliRunner().invoke(main, ["run", "--env", "CartPole-v1", "--preset", "smoke", *folders, *given])
    assert result.exit_code == 0, result.output
    with playing(tmp_path / "run", tmp_path / "human") as page:
        page.send("pause")
        awake = page.view(paused=True)
        page.send("press", key="ArrowRight", number=1)
        page.send("step")
        assert page.view(driver="person")["action"] == [0.0, 1.0]
        page.send("fall-asleep")
        page.view(world="dream", step=0)
        page.send("step")
        asleep = page.view(world="dream", step=1)
    toy = {"toy": toy_session.run}
    with playing(tmp_path / "run", tmp_path / "human", others=toy, world="dream") as page:
        page.send("record", format="gif")
        page.view(recording=True)
        page.send("begin", run="toy")
        assert page.event("recorded")
        page.send("look-at", index=7)
        page.until(lambda message: message.get("mixture", {}).get("index") == 7)
        page.send("begin", run=RUN)  # it has fewer latents
        page.view(world="reality", step=1)
    kinds = {section["name"]: (section["kind"], section["shape"]) for section in awake["sections"]}
    assert kinds["environment"] == ("jpeg", [400, 600, 3])
    assert kinds["V's reconstruction"][0] == kinds["M's dream"][0] == picture
    assert asleep["action"] == [0.0, 1.0]
