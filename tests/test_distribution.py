"""The wheel and the source distribution: they build, hold the recipes, and run from another folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from vmc.extras import DISTRIBUTION, EXTRAS, VERSION, install_hint
from vmc.recipes import recipe_files

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel and an sdist; the wheel is built from the sdist, as an index would."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_wheel_runs_from_another_folder(built: Path, tmp_path: Path) -> None:
    """Unpacked, without the repository: its dependencies are those of this environment."""
    (wheel,) = built.glob("*.whl")
    assert wheel.name.startswith(f"{DISTRIBUTION.replace('-', '_')}-{VERSION}-")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    assert {f"{name}.toml" for name in recipe_files()} <= {path.name for path in (site / "vmc" / "recipes").iterdir()}
    for folder in ("viewer/static", "report/templates"):
        assert {path.name for path in (ROOT / "vmc" / folder).iterdir()} == {
            path.name for path in (site / "vmc" / folder).iterdir()
        }
    assert (site / "vmc" / "py.typed").exists()
    assert {"page.html", "style.css"} <= {path.name for path in (site / "vmc" / "report" / "templates").iterdir()}
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert Path(run("-c", "import vmc; print(vmc.__file__)").strip()).is_relative_to(site)
    assert run("-m", "vmc", "--version") == f"vmc, version {VERSION}\n"
    recipes = run("-m", "vmc", "recipes")
    assert all(f"{name}: " in recipes for name in recipe_files())
    dry = run("-m", "vmc", "run", "--preset", "smoke", "--dry-run")
    assert "[rounds.train-controller]" in dry
    metadata = run("-c", f"from importlib.metadata import version; print(version({DISTRIBUTION!r}))")
    assert metadata.strip() == VERSION


def test_the_sdist_holds_what_a_clone_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {"pyproject.toml", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "vmc/cli.py", "tests/test_cli.py"}
    assert expected <= names
    assert not any("__pycache__" in name for name in names)


def test_every_hint_names_an_extra_that_there_is() -> None:
    """Hints are made in one place, and no other file tells to install `vmc`, which is another project."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'name = "{DISTRIBUTION}"' in project
    for extra in EXTRAS:
        assert f"\n{extra} = [" in project
        assert f"'.[{extra}]'" in install_hint(extra)
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "vmc").rglob("*.py")}
    assert [name for name, text in sources.items() if "pip install '" in text] == ["extras.py"]
    assert not [name for name, text in sources.items() if re.search(r"pip install \W?vmc\b", text)]


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
