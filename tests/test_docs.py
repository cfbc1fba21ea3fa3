"""Every table, snippet and command of README and `docs/` is checked; most are run."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from readme_tables import COMMAND_LINE, ROOT, command_line_page, documents, filled

from vmc.cli import main

# The log of experiments quotes snippets and options of its time.
_PAGES = [path for path in documents() if "experiments" not in path.parts]
_FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Words that README and docs explain by the field's terms instead.
_PRIVATE = r"\b(looks? at reality|anew|stall\w*|disturb\w*|undisturbed|silenced|drivers?|licen[cs]e of|polish\w*|earns?)\b"
# Commands that are cheap and need nothing but the clone, or what the page itself has made. In this order.
_RUN = (
    r"vmc recipes.*",
    r"vmc inspect results/.*",
    r"vmc test --run results/[\w-]+ --episodes 2\b.*",
    r"vmc run --env my_module:Pointer-v0 --preset smoke .*",
    r"vmc (rollouts|train-vae|train-mdrnn|train-controller) --env vmc/Toy-v0 .*",
)


class Block(NamedTuple):
    """A fenced block of a page; `title` is the name of the file that it shows, or empty."""

    language: str
    title: str
    text: str


def _blocks(page: Path) -> list[Block]:
    return [Block(*found.groups("")) for found in _FENCE.finditer(page.read_text(encoding="utf-8"))]


def _commands(page: Path) -> list[str]:
    """The page's `vmc` commands, without the path of the virtual environment."""
    found = []
    for block in _blocks(page):
        if block.language == "console":
            joined = block.text.replace("\\\n", " ")
            lines = (line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ "))
            parts = (part.strip() for line in lines for part in line.split("&&"))
            found += [re.sub(r"^\.venv/bin/vmc\b", "vmc", part) for part in parts if re.match(r"(\.venv/bin/)?vmc\b", part)]
    return found


def _id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `results/` (the published ones as links) and the files that the page shows."""
    page: Path = request.getfixturevalue("page")
    (tmp_path / "results").mkdir()
    for path in (ROOT / "results").iterdir():
        (tmp_path / "results" / path.name).symlink_to(path)
    for block in _blocks(page):
        if block.title:
            file = tmp_path / block.title
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", documents(), ids=_id)
def test_the_tables_are_those_of_the_results(page: Path) -> None:
    """`python benchmarks/readme_tables.py` fills them."""
    text = page.read_text(encoding="utf-8")
    assert filled(text) == text


def test_the_page_of_the_command_line_is_what_help_prints() -> None:
    """`python benchmarks/readme_tables.py` writes it."""
    assert COMMAND_LINE.read_text(encoding="utf-8") == command_line_page()


@pytest.mark.parametrize("page", documents(), ids=_id)
def test_every_picture_is_there(page: Path) -> None:
    """The generator of the site does not see a missing one."""
    for name in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / name).is_file(), name


@pytest.mark.parametrize("page", _PAGES, ids=_id)
def test_no_private_word_stands_in_the_documents(page: Path) -> None:
    assert re.findall(_PRIVATE, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", [page for page in _PAGES if _commands(page)], ids=_id)
def test_every_command_parses(page: Path) -> None:
    for line in _commands(page):
        command: click.Command = main
        arguments = shlex.split(line, comments=True)[1:]
        while isinstance(command, click.Group) and arguments and arguments[0] in command.commands:
            command = command.commands[arguments.pop(0)]
        assert command is not main or not arguments or arguments[0].startswith("-"), f"{line}: no such command"
        try:
            with contextlib.suppress(SystemExit, click.exceptions.Exit):  # --version and --help
                command.make_context(str(command.name), arguments)
        except click.UsageError as error:
            assert "does not exist" in error.message, f"{line}: {error.message}"  # a folder of the reader's


@pytest.mark.parametrize("page", [page for page in _PAGES if any(b.language == "python" for b in _blocks(page))], ids=_id)
@pytest.mark.filterwarnings("default")
def test_every_snippet_runs(page: Path, folder: Path) -> None:
    """Each page's by themselves, in a process of their own: they register environments."""
    code = [block.text for block in _blocks(page) if block.language == "python" and not block.title]
    script = folder / "snippets.py"
    script.write_text("\n".join(code), encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=folder, env=_environment(folder), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


_RUNNABLE = {page: [c for c in _commands(page) if any(re.fullmatch(form, c) for form in _RUN)] for page in _PAGES}


@pytest.mark.parametrize("page", [page for page, commands in _RUNNABLE.items() if commands], ids=_id)
def test_cheap_commands_run(page: Path, folder: Path) -> None:
    for line in _RUNNABLE[page]:
        arguments = [sys.executable, "-m", "vmc", *shlex.split(line)[1:]]
        done = subprocess.run(arguments, cwd=folder, env=_environment(folder), capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


def _environment(folder: Path) -> dict[str, str]:
    paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


@pytest.mark.skipif(shutil.which("zensical", path=str(Path(sys.executable).parent)) is None, reason="extra `docs`")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    zensical = Path(sys.executable).with_name("zensical")
    done = subprocess.run([zensical, "build", "--strict", "--clean"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
