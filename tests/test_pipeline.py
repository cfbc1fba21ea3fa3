import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import TOY, TOY_VALUES

from vmc import pipeline
from vmc.control.loop import SearchLoop
from vmc.errors import VmcError
from vmc.pipeline import PipelineSettings, run_pipeline
from vmc.recipes import Recipe, due_stages, load_recipe
from vmc.stages import collect, training
from vmc.storage.checkpoint import load_checkpoint, save_checkpoint
from vmc.storage.journal import sealed, unsealed
from vmc.storage.rollouts import RolloutDataset

FIRST: dict[str, dict[str, Any]] = {
    **TOY_VALUES,
    "rollouts": {"episodes": 6},
    "train-vae": {"epochs": 1, "batch_size": 32},
    "train-mdrnn": {"epochs": 3, "batch_size": 4},
    "test": {"episodes": 4},
}
LATER = {**FIRST, "rollouts": {"episodes": 4, "policy": "controller"}}


def _recipe(rounds: int = 1) -> Recipe:
    """Each round collects, trains V, M and C; the last one tests C."""
    made = [dict(FIRST), *(dict(LATER) for _ in range(rounds - 1))]
    for stages in made[:-1]:
        del stages["test"]
    return Recipe("toy", tuple(made), env=TOY)


def _settings(folder: Path, rounds: int = 1) -> PipelineSettings:
    return PipelineSettings(_recipe(rounds), folder / "data", folder / "run", "cpu", 0)


def _spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that really run."""
    ran: list[str] = []
    runners = dict(pipeline._RUNNERS)

    def spy(stage: str) -> Any:
        def run(*arguments: Any) -> Any:
            ran.append(stage)
            return runners[stage](*arguments)

        return run

    monkeypatch.setattr(pipeline, "_RUNNERS", {stage: spy(stage) for stage in runners})
    return ran


def test_the_chain_resumes_at_the_first_unfinished_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(tmp_path)
    with monkeypatch.context() as patch:

        def die(*_: Any) -> Any:
            raise KeyboardInterrupt

        patch.setitem(pipeline._RUNNERS, "train-mdrnn", die)
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(settings)
    ran = _spied(monkeypatch)
    records = run_pipeline(settings)
    assert ran == ["train-mdrnn", "train-controller", "test"]
    assert [record.stage for record in records] == ["rollouts", "train-vae", *ran]
    assert all(record.seconds > 0 for record in records)
    assert json.loads((tmp_path / "run" / "test.json").read_text())["mean"] == records[-1].metrics["mean"]
    assert run_pipeline(settings) == records
    assert len(ran) == 3  # the second time there was nothing to do

    # More generations: the search goes on, what came before is left alone, and the score is made again.
    longer = settings.recipe.adapted(overrides={"train-controller": {"generations": 4}})
    records = run_pipeline(replace(settings, recipe=longer))
    assert ran[3:] == ["train-controller", "test"]
    assert records[3].metrics["generations"] == 4


def test_a_second_round_collects_with_c_and_goes_on(tmp_path: Path) -> None:
    first = run_pipeline(_settings(tmp_path))
    records = run_pipeline(_settings(tmp_path, rounds=2))
    assert records[:4] == first[:4]
    stages = [(record.round, record.stage) for record in records]
    assert stages == [(n, s) for n in (0, 1) for s in TOY_VALUES if (n, s) != (0, "test")]
    dataset = RolloutDataset(tmp_path / "data")
    policies = [dataset.sources[episode.path].policy["name"] for episode in dataset.episodes]
    assert policies == ["brownian"] * 6 + ["controller"] * 4
    assert records[7].metrics["generations"] == 6  # three more, from the first round's best
    shutil.rmtree(tmp_path / "run" / "controller")
    again = run_pipeline(_settings(tmp_path, rounds=2))
    assert [record.stage for record in again] == [record.stage for record in records]
    assert all(record.seconds > 0 for record in again)


class _Killed(BaseException):
    """Stands for kill -9: nothing in the program may catch it."""


@pytest.mark.parametrize(
    ("stage", "place", "save", "saves"),
    [
        ("rollouts", collect, "write_bytes", 1),
        ("train-vae", training, "_save_latest", 2),
        ("train-mdrnn", training, "_save_latest", 3),
        ("train-controller", SearchLoop, "_save", 2),
    ],
)
def test_a_later_round_killed_within_a_stage_ends_as_the_whole_one(
    stage: str, place: Any, save: str, saves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the stage has changed what the round before had made."""
    expected = run_pipeline(_settings(tmp_path / "whole", rounds=2))
    run_pipeline(_settings(tmp_path / "parts"))
    settings = _settings(tmp_path / "parts", rounds=2)
    with monkeypatch.context() as patch:
        runner, really_save, saved = pipeline._RUNNERS[stage], getattr(place, save), []

        def save_and_die(*arguments: Any, **named: Any) -> Any:
            made = really_save(*arguments, **named)
            saved.append(1)
            if len(saved) == saves:
                raise _Killed
            return made

        def run(*arguments: Any) -> Any:
            patch.setattr(place, save, save_and_die)
            return runner(*arguments)

        patch.setitem(pipeline._RUNNERS, stage, run)
        with pytest.raises(_Killed):
            run_pipeline(settings)
    ran = _spied(monkeypatch)
    found = run_pipeline(settings)
    assert ran == [*TOY_VALUES][[*TOY_VALUES].index(stage) :]
    assert [record.output for record in found[:-1]] == [record.output for record in expected[:-1]]


def test_a_run_keeps_its_recipe_which_makes_it_again(tmp_path: Path) -> None:
    first = run_pipeline(_settings(tmp_path / "first", rounds=2))
    kept = load_recipe(tmp_path / "first" / "run" / "recipe.toml")
    again = run_pipeline(PipelineSettings(kept, tmp_path / "again" / "data", tmp_path / "again" / "run", "cpu", 0))
    assert [record.settings for record in again] == [record.settings for record in first]
    assert [record.output for record in again[:-1]] == [record.output for record in first[:-1]]
    text = (tmp_path / "first" / "run" / "recipe.toml").read_text()
    assert (tmp_path / "again" / "run" / "recipe.toml").read_text() == text
    assert "learning_rate = 0.001" in text  # the defaults too


def test_the_recipe_is_kept_before_the_first_stage_and_replaced_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path)

    def die(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setitem(pipeline._RUNNERS, "rollouts", die)
    for episodes in (6, 7):
        recipe = settings.recipe.adapted(overrides={"rollouts": {"episodes": episodes}})
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(replace(settings, recipe=recipe))
        assert load_recipe(settings.run / "recipe.toml").options("rollouts")["episodes"] == episodes


def test_less_than_there_is_changes_nothing_and_is_told(tmp_path: Path) -> None:
    """As `vmc run --set train-mdrnn.epochs=1` on a finished run: the record says what was trained."""
    settings, told = _settings(tmp_path), []
    expected = run_pipeline(settings)
    files = {path: path.read_bytes() for path in settings.run.rglob("*.*") if path.suffix in (".json", ".toml")}
    less: dict[str, dict[str, Any]] = {
        "rollouts": {"episodes": 5, "policy": "random"},
        "train-mdrnn": {"epochs": 1},
        "train-controller": {"generations": 2},
    }
    recipe = settings.recipe.adapted(overrides=less)
    for _ in range(2):  # and so it is the second time
        told.clear()
        assert run_pipeline(replace(settings, recipe=recipe), told.append) == expected
        assert told == [
            f"Nothing to do: {tmp_path / 'data'} holds 6 episodes already (6 by brownian, seed 0).",
            f"Nothing to do: M in {tmp_path / 'run' / 'mdrnn'} has 3 epochs already.",
            f"Nothing to do: C in {tmp_path / 'run' / 'controller'} has 3 generations already.",
        ]
    assert {path: path.read_bytes() for path in files} == files

    # What can be done is done, and kept beside what cannot.
    overrides = {**less, "train-controller": {"generations": 4}}
    records = run_pipeline(replace(settings, recipe=settings.recipe.adapted(overrides=overrides)), told.append)
    assert records[3].metrics["generations"] == 4
    kept = load_recipe(settings.run / "recipe.toml")
    assert kept.options("train-mdrnn")["epochs"] == 3
    assert kept.options("rollouts")["policy"] == "brownian"
    assert kept.options("train-controller")["generations"] == 4


def test_a_smaller_test_is_kept_apart_and_told(tmp_path: Path) -> None:
    settings, told = _settings(tmp_path), []
    run_pipeline(settings)
    recipe = settings.recipe.adapted(overrides={"test": {"episodes": 2}})
    run_pipeline(replace(settings, recipe=recipe), told.append)
    (note,) = told
    assert "test.json keeps its 4 episodes" in note
    assert len(json.loads((settings.run / "test-2-episodes.json").read_text())["episodes"]) == 2


def test_a_refused_recipe_leaves_the_one_of_the_run(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run_pipeline(settings)
    before = (settings.run / "recipe.toml").read_bytes()
    for recipe, told in (
        (settings.recipe.adapted(seed=1), "was made with seed 0; now it is 1.\n.*needs its own --run and --data"),
        (settings.recipe.adapted(overrides={"train-vae": {"batch_size": 8}}), "batch_size = 32; now it is 8"),
    ):
        with pytest.raises(VmcError, match=told):
            run_pipeline(replace(settings, recipe=recipe))
        assert (settings.run / "recipe.toml").read_bytes() == before


def test_a_refused_recipe_with_other_data_leaves_the_records(tmp_path: Path) -> None:
    """The new data are collected before a later stage refuses."""
    settings = _settings(tmp_path)
    run_pipeline(settings)
    before = {name: (settings.run / name).read_bytes() for name in ("recipe.toml", "run.json")}
    recipe = settings.recipe.adapted(overrides={"train-mdrnn": {"batch_size": 3}})
    with pytest.raises(VmcError, match="now it is 3"):
        run_pipeline(replace(settings, recipe=recipe, data=tmp_path / "others"))
    assert (tmp_path / "others").exists()
    other_env = replace(settings, recipe=settings.recipe.adapted(env="CartPole-v1"), data=tmp_path / "cartpole")
    with pytest.raises(VmcError, match=f"was made in {TOY}; now it is CartPole-v1"):
        run_pipeline(other_env)
    assert not (tmp_path / "cartpole").exists()
    assert {name: (settings.run / name).read_bytes() for name in before} == before


def test_a_damaged_recipe_is_told_and_left(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    run_pipeline(settings)
    (settings.run / "recipe.toml").write_text("{garbage")
    with pytest.raises(VmcError, match=r"recipe\.toml, line 1"):
        run_pipeline(settings)
    assert (settings.run / "recipe.toml").read_text() == "{garbage"


def test_weights_that_are_missing_are_told_and_can_be_made_again(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    expected = run_pipeline(settings)
    vae = settings.run / "vae"
    next(vae.glob("best-weights-*")).unlink()
    with pytest.raises(VmcError, match=r"is missing, but best\.json names it") as caught:
        run_pipeline(settings)
    assert f"remove best.json and latest.json in {vae} and run `vmc train-vae` again" in str(caught.value)
    for name in ("best", "latest"):
        (vae / f"{name}.json").unlink()
    found = run_pipeline(settings)
    assert [record.output for record in found[:-1]] == [record.output for record in expected[:-1]]


def test_rounds_have_only_the_stages_that_the_recipe_lists(tmp_path: Path) -> None:
    """The second round has another search alone, on the same data, V and M; the third has nothing but a test."""
    first = {stage: FIRST[stage] for stage in ("rollouts", "train-vae", "train-mdrnn", "train-controller")}
    second = {"train-controller": {**FIRST["train-controller"], "init": "scratch"}}
    recipe = Recipe("toy", (first, second, {"test": FIRST["test"]}), env=TOY)
    records = run_pipeline(PipelineSettings(recipe, tmp_path / "data", tmp_path / "run", "cpu", 0))
    assert [(record.round, record.stage) for record in records] == [
        *((0, stage) for stage in first),
        *((1, stage) for stage in second),
        (2, "test"),
    ]
    assert records[4].metrics["generations"] == 6


def test_what_was_removed_is_made_again_and_rounds_cannot_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path)
    run_pipeline(settings)
    ran = _spied(monkeypatch)
    shutil.rmtree(tmp_path / "run" / "mdrnn")
    run_pipeline(settings)
    assert ran == ["train-mdrnn", "train-controller", "test"]
    next((tmp_path / "data").glob("*.h5")).unlink()
    run_pipeline(settings)
    assert ran[3:] == ["rollouts", "train-vae", "train-mdrnn", "train-controller", "test"]
    file = tmp_path / "run" / "run.json"
    records = unsealed(json.loads(file.read_text()), file, "")
    file.write_text(json.dumps(sealed({**record, "round": 1} for record in records)))
    with pytest.raises(VmcError, match="has 2 rounds already, and the recipe toy has 1"):
        run_pipeline(settings)


def test_a_run_of_an_older_version_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records and checkpoints lack the settings that are younger than it is."""
    settings = _settings(tmp_path)
    run_pipeline(settings)
    file = tmp_path / "run" / "run.json"
    records = unsealed(json.loads(file.read_text()), file, "")
    younger = {"train-controller": "halvings", "train-mdrnn": "sample_latents"}
    for record in records:
        record["settings"].pop(younger.get(record["stage"]), None)
    file.write_text(json.dumps(sealed(records)))
    for stage, folder in (("train-controller", "controller"), ("train-mdrnn", "mdrnn")):
        kept = load_checkpoint(tmp_path / "run" / folder, "latest", "")
        del kept.info["config"][younger[stage]]
        save_checkpoint(tmp_path / "run" / folder, "latest", kept.info, kept.weights, kept.state)
    ran = _spied(monkeypatch)
    run_pipeline(settings)
    assert ran == []
    more = {**FIRST, "train-controller": {**FIRST["train-controller"], "generations": 4}}
    run_pipeline(replace(settings, recipe=Recipe("toy", (more,), env=TOY)))
    assert ran == ["train-controller", "test"]


def test_a_damaged_run_file_is_told(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    settings.run.mkdir()
    (settings.run / "run.json").write_text('[{"round": 0')
    with pytest.raises(VmcError, match=r"run\.json is damaged"):
        run_pipeline(settings)


@pytest.mark.parametrize(("before", "expected"), [([], 10.0), ([4.0], 6.0), ([4.0, 6.0], 0.0), ([40.0], 10.0)])
def test_a_round_counts_its_own_seconds(
    before: list[float], expected: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage counts them over all rounds: here 10. It may have had nothing to do, or have begun again."""
    monkeypatch.setitem(pipeline._RUNNERS, "train-mdrnn", lambda settings, chosen: pipeline.StageResult(10.0, {}))
    records = [pipeline.StageRecord(n, "train-mdrnn", {}, seconds, {}, "") for n, seconds in enumerate(before)]
    settings = _settings(tmp_path)
    due = next(due for due in due_stages(settings.recipe) if due.stage == "train-mdrnn")
    due = due._replace(round=2)
    result = pipeline._run_stage(settings, due, print)
    assert pipeline._record(settings, records, due, result).seconds == expected


@pytest.mark.parametrize(
    ("stage", "option", "told"),
    [
        ("train-mdrnn", "dynamics", "There is no M of kind 'eye'"),
        ("train-vae", "vision", "There is no V of kind 'eye'"),
    ],
)
def test_an_unknown_kind_of_model_is_told_before_any_work(stage: str, option: str, told: str, tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    recipe = settings.recipe.adapted(overrides={stage: {option: "eye"}})
    with pytest.raises(VmcError, match=told):
        run_pipeline(replace(settings, recipe=recipe))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["no_such_module:Own", "vmc.models.vision.conv:Own"])
def test_a_kind_that_cannot_be_imported_is_told_before_any_work(kind: str, tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    for stage, option in (("train-vae", "vision"), ("train-mdrnn", "dynamics")):
        recipe = settings.recipe.adapted(overrides={stage: {option: kind}})
        with pytest.raises(VmcError, match="cannot be imported"):
            run_pipeline(replace(settings, recipe=recipe))
        assert not list(tmp_path.iterdir()), stage
