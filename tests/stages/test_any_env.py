"""The whole chain on environments that are not pictures with Box actions, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from vmc.cli import main
from vmc.recipes import Recipe, load_recipe, to_toml
from vmc.storage.checkpoint import load_checkpoint

SMALL = {
    "train-controller.generations": 2,
    "train-controller.population_size": 4,
    "train-controller.max_steps": 30,
    "train-mdrnn.epochs": 2,
    "train-mdrnn.final_lr_fraction": 1.0,  # so that an epoch does not depend on how many there will be
    "train-vae.batch_size": 16,
    "test.episodes": 2,
    "test.max_steps": 30,
}


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def _folders(folder: Path) -> list[str]:
    return ["--data", str(folder / "data"), "--run", str(folder / "run"), "--device", "cpu", "--workers", "0"]


def _chain(folder: Path, *arguments: str, **values: object) -> Result:
    sets = [text for name, value in {**SMALL, **values}.items() for text in ("--set", f"{name}={value}")]
    return _run("run", *arguments, *_folders(folder), "--preset", "smoke", *sets)


def _assert_told(result: Result, pattern: str) -> None:
    assert result.exit_code == 1, result.output
    assert pattern in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cartpole")
    result = _chain(folder, "--env", "CartPole-v1")
    assert result.exit_code == 0, result.stderr
    assert "CartPole-v1: mean return" in result.stdout
    return folder


def test_cartpole_runs_and_what_is_done_is_not_done_again(cartpole: Path) -> None:
    before = (cartpole / "run" / "run.json").read_text()
    assert _chain(cartpole, "--env", "CartPole-v1").exit_code == 0
    assert (cartpole / "run" / "run.json").read_text() == before
    shape = load_checkpoint(cartpole / "run" / "controller", "best", "").info["model"]
    # CartPole shows four numbers, its M has 16 hidden units, and it has two actions.
    assert (shape["inputs"], shape["input_size"], shape["action_size"]) == ("zh", 4 + 16, 2)
    assert json.loads((cartpole / "run" / "vae" / "reconstructions.json").read_text())["latent_size"] == 4


def test_an_interrupted_chain_ends_where_a_whole_one_does(cartpole: Path, tmp_path: Path) -> None:
    """M and C are trained in two goes; the result is the fixture's, bit for bit."""
    half = {"train-controller.generations": 1, "train-mdrnn.epochs": 1}
    assert _chain(tmp_path, "--env", "CartPole-v1", **half).exit_code == 0
    assert _chain(tmp_path, "--env", "CartPole-v1", **{**half, "train-mdrnn.epochs": 2}).exit_code == 0
    for stage in ("vae", "mdrnn"):
        hashes = {load_checkpoint(folder / "run" / stage, "latest", "").sha256 for folder in (cartpole, tmp_path)}
        assert len(hashes) == 1, stage


def test_the_dream_of_discrete_actions(cartpole: Path) -> None:
    options = ["--episodes", "2", "--horizon", "5"]
    result = _run("test", "--env", "CartPole-v1", "--dream", *options, *_folders(cartpole))
    assert result.exit_code == 0, result.stderr
    assert "the dream at temperature 1.0" in result.stdout


def test_a_second_round_keeps_what_z_means(cartpole: Path, tmp_path: Path) -> None:
    """More data come, and the identity's centre and spread stay: M can go on, and nothing is encoded again."""
    import shutil

    shutil.copytree(cartpole, tmp_path / "copy")
    before = load_checkpoint(tmp_path / "copy" / "run" / "vae", "best", "").sha256
    first, last = _recipe_of(cartpole).rounds[0], {"policy": "controller", "episodes": 4, "max_steps": 150}
    stages = {stage: options for stage, options in first.items() if stage != "test"}
    two = Recipe("two", (stages, {**first, "rollouts": last}), env="CartPole-v1")
    (tmp_path / "two.toml").write_text(to_toml(two))
    result = _run("run", "--recipe", str(tmp_path / "two.toml"), *_folders(tmp_path / "copy"))
    assert result.exit_code == 0, result.stderr
    assert load_checkpoint(tmp_path / "copy" / "run" / "vae", "best", "").sha256 == before


def _recipe_of(folder: Path) -> Recipe:
    return load_recipe(folder / "run" / "recipe.toml")


def test_a_film_of_vectors_has_the_environments_picture_and_lines(cartpole: Path) -> None:
    film = cartpole / "film.gif"
    options = ["--episodes", "2", "--max-steps", "30", "--video", str(film)]
    result = _run("test", "--env", "CartPole-v1", *_folders(cartpole), *options)
    assert result.exit_code == 0, result.output
    with Image.open(film) as pictures:
        assert pictures.size == (384 + 8 + 320 + 8 + 320, 28 + 256 + 28)


def test_inspect_says_what_a_vector_run_holds(cartpole: Path) -> None:
    result = _run("inspect", str(cartpole / "run"))
    assert result.exit_code == 0, result.stderr
    assert "V, M and C belong together; trained on CartPole-v1" in result.stdout


def test_a_dense_v_on_a_box_of_actions(tmp_path: Path) -> None:
    result = _chain(tmp_path, "--env", "Pendulum-v1", **{"train-vae.vision": "dense", "rollouts.episodes": 4})
    assert result.exit_code == 0, result.stderr
    info = load_checkpoint(tmp_path / "run" / "vae", "best", "").info
    assert (info["kind"], info["model"]["latent_size"]) == ("dense", 3)
    shares = json.loads((tmp_path / "run" / "vae" / "reconstructions.json").read_text())["explained_variance"]
    assert len(shares) == 3


def test_pixels_and_scalar_actions(tmp_path: Path) -> None:
    options = ["--env", "CartPole-v1", "--pixels", "--scalar-actions", "--env-kwargs", "sutton_barto_reward=False"]
    values = {"rollouts.episodes": 4, "rollouts.max_steps": 20, "train-vae.epochs": 1}
    result = _chain(tmp_path, *options, **values)
    assert result.exit_code == 0, result.stderr
    assert "CartPole-v1,sutton_barto_reward=False,pixels,scalar-actions: mean return" in result.stdout
    assert load_checkpoint(tmp_path / "run" / "controller", "best", "").info["model"]["action_size"] == 1
    assert (tmp_path / "run" / "vae" / "reconstructions.png").exists()


def test_a_v_that_does_not_see_these_frames_is_told_before_any_work(tmp_path: Path) -> None:
    result = _chain(tmp_path, "--env", "CartPole-v1", **{"train-vae.vision": "conv"})
    _assert_told(result, "CartPole-v1 shows vectors, and V of kind 'conv' sees pictures")
    assert not list(tmp_path.iterdir())


def test_pictures_and_vectors_of_one_environment_have_folders_of_their_own(cartpole: Path) -> None:
    result = _run("train-vae", "--env", "CartPole-v1", "--pixels", *_folders(cartpole)[:-2])
    _assert_told(result, "holds episodes of the environment CartPole-v1; expected CartPole-v1,pixels")
