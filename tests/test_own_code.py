"""Code comes from the user alone: a run that somebody sends can name a module, but cannot bring one."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ToyRun

from vmc.cli import main
from vmc.errors import VmcError
from vmc.models.checkpoints import dynamics_folder
from vmc.own_code import import_own, resolve_own
from vmc.storage.checkpoint import load_checkpoint, save_checkpoint

_EVIL = "from pathlib import Path\nPath('it ran').touch()\nclass Evil: ...\n"


@pytest.fixture
def sent(toy: ToyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run and a module, in the working folder."""
    folder = tmp_path / "here" / "sent"
    shutil.copytree(toy.run, folder / "run")
    shutil.copytree(toy.data, folder / "data")
    (folder / "evil.py").write_text(_EVIL, encoding="utf-8")
    monkeypatch.chdir(folder.parent)
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def _assert_nothing_ran() -> None:
    assert not Path("it ran").exists()
    assert not [name for name in sys.modules if name.startswith("sent")]


@pytest.mark.parametrize("package", [False, True])
@pytest.mark.parametrize("inside", ["", "run", "data"])
def test_a_module_beside_a_run_is_not_imported(sent: Path, package: bool, inside: str) -> None:
    if inside:
        shutil.move(sent / "evil.py", sent / inside / "evil.py")
    if package:
        (sent / "__init__.py").write_text(_EVIL, encoding="utf-8")
    module = ".".join(filter(None, ["sent", inside, "evil"]))
    with pytest.raises(VmcError, match=r"lies in .*sent, which holds runs or data"):
        resolve_own(f"{module}:Evil")
    with pytest.raises(VmcError, match=module):
        import_own(module)
    _assert_nothing_ran()


def test_a_checkpoint_that_names_one_is_refused(sent: Path) -> None:
    folder = dynamics_folder(sent / "run")
    whole = load_checkpoint(folder, "best", "")
    info = {**whole.info, "kind": "sent.evil:Evil"}
    save_checkpoint(folder, "best", info, whole.weights)
    result = CliRunner().invoke(
        main, ["test", "sent/run", "--episodes", "2", "--workers", "0", "--dream", "--data", "sent/data"]
    )
    assert result.exit_code == 1, result.output
    assert "nothing there is imported" in result.output
    _assert_nothing_ran()


def test_an_environment_there_is_refused(sent: Path) -> None:
    options = ["--data", "elsewhere", "--episodes", "1", "--workers", "0"]
    result = CliRunner().invoke(main, ["rollouts", "--env", "sent.evil:Evil-v0", *options])
    assert result.exit_code == 1
    assert "nothing there is imported" in result.output
    _assert_nothing_ran()


def test_a_module_of_the_users_own_is_imported(sent: Path) -> None:
    for place in (sent.parent / "mine.py", sent.parent / "ours" / "part.py"):
        place.parent.mkdir(exist_ok=True)
        place.write_text("class Own: ...\n", encoding="utf-8")
    assert import_own("mine").Own.__name__ == "Own"
    assert resolve_own("ours.part:Own").__name__ == "Own"
    with pytest.raises(ImportError):
        import_own("mine.nothing")
