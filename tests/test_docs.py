"""Every table, snippet and command of README and `docs/` is checked; most are run."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from conftest import ToyRun
from readme_tables import COMMAND_LINE, ROOT, command_line_page, documents, filled

import vmc
from vmc.cli import main
from vmc.storage.metrics import read_metrics

# The log of experiments quotes snippets and options of its time.
_PAGES = [path for path in documents() if "experiments" not in path.parts]
_FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# Words that README and docs explain by the field's terms instead.
_PRIVATE = (
    r"\b(looks? at reality|anew|stall\w*|disturb\w*|undisturbed|silenced|drivers?|licen[cs]e of|polish\w*|earns?)\b"
)
# Commands that are cheap and need nothing but the clone, or what the page itself has made. In this order.
_CHEAP = (
    r"vmc (recipes|list|doctor)\b.*",
    r"vmc inspect results/.*",
    r"vmc test (--run )?results/[\w-]+ --episodes 2\b.*",
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
            found += [
                re.sub(r"^\.venv/bin/vmc\b", "vmc", part) for part in parts if re.match(r"(\.venv/bin/)?vmc\b", part)
            ]
    return found


def _id(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of the published agents, which a command may write to, and the files that the page shows."""
    page: Path = request.getfixturevalue("page")
    for card in (ROOT / "results").glob("*/README.md"):
        shutil.copytree(card.parent, tmp_path / "results" / card.parent.name)
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


def test_the_library_reference_has_every_public_name() -> None:
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^::: [\w.]+\.(\w+)$", text, flags=re.MULTILINE))
    assert {*vmc.__all__} - {"__version__"} <= described


@pytest.mark.parametrize(("part", "folder"), [("vision", "vae"), ("dynamics", "mdrnn"), ("controller", "controller")])
def test_all_that_is_logged_is_explained(part: str, folder: str, toy_session: ToyRun) -> None:
    text = (ROOT / "docs" / "parts" / f"{part}.md").read_text(encoding="utf-8")
    names = {name for line in read_metrics(toy_session.run / folder) for name in line}
    if folder == "mdrnn":
        names |= json.loads((toy_session.run / folder / "report.json").read_text(encoding="utf-8")).keys()
    explained = set(re.findall(r"`(\w+)`", text))
    assert [name for name in names if not {name, re.sub("^(train|val)_", "", name)} & explained] == []


@pytest.mark.parametrize("page", _PAGES, ids=_id)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    """Files of this repository; a name with a star stands for at least one. What the page itself makes is not meant."""
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:vmc|tests|benchmarks|examples|docs)/[\w./*-]+\.\w+|results/[\w*-]+\.json)`", text):
        assert list(ROOT.glob(name)), name
    for file, test in re.findall(r"`(tests/[\w/]+\.py)`: `(test_\w+)`", text):
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), test


@pytest.mark.parametrize("page", documents(), ids=_id)
def test_every_picture_is_there(page: Path) -> None:
    """The generator of the site does not see a missing one."""
    for name in re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / name).is_file(), name


@pytest.mark.parametrize("page", _PAGES, ids=_id)
def test_no_private_word_stands_in_the_documents(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.name == "cluster.md":
        text = text.replace("driver", "")  # Ray's own word for the process that sends the jobs
    assert re.findall(_PRIVATE, text) == []


@pytest.mark.parametrize("page", [page for page in _PAGES if _commands(page)], ids=_id)
def test_every_command_parses(page: Path) -> None:
    for line in _commands(page):
        command: click.Command = main
        arguments = shlex.split(line, comments=True)[1:]
        while isinstance(command, click.Group) and arguments and arguments[0] in command.commands:
            command = command.commands[arguments.pop(0)]
        assert command is not main or not arguments or arguments[0].startswith("-"), f"{line}: no such command"
        problem = _usage_error(command, arguments)
        assert not problem or "does not exist" in problem, f"{line}: {problem}"  # a folder of the reader's


def _usage_error(command: click.Command, arguments: list[str]) -> str:
    try:
        with contextlib.suppress(SystemExit, click.exceptions.Exit):  # --version and --help
            command.make_context(str(command.name), arguments)
    except click.UsageError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    "page", [page for page in _PAGES if any(b.language == "python" for b in _blocks(page))], ids=_id
)
@pytest.mark.filterwarnings("default")
def test_every_snippet_runs(page: Path, folder: Path) -> None:
    """Each page's by themselves, in a process of their own: they register environments."""
    code = [block.text for block in _blocks(page) if block.language == "python" and not block.title]
    script = folder / "snippets.py"
    script.write_text("\n".join(code), encoding="utf-8")
    _run([sys.executable, script], folder)


_RUNNABLE = {page: [c for c in _commands(page) if any(re.fullmatch(form, c) for form in _CHEAP)] for page in _PAGES}


@pytest.mark.parametrize("page", [page for page, commands in _RUNNABLE.items() if commands], ids=_id)
def test_cheap_commands_run(page: Path, folder: Path) -> None:
    for line in _RUNNABLE[page]:
        arguments = [sys.executable, "-m", "vmc", *shlex.split(line)[1:]]
        _run(arguments, folder)


@pytest.mark.parametrize("page", [ROOT / "README.md"], ids=_id)
def test_the_readmes_transcripts_are_true(page: Path, folder: Path) -> None:
    """Scores of single episodes differ between processors, so the test's output is compared without its digits."""
    ending = next(block.text for block in _blocks(page) if block.language == "text")
    transcript = (ROOT / "results" / "quick" / "transcript.txt").read_text(encoding="utf-8")
    assert transcript.endswith(ending)
    test = json.loads((ROOT / "results" / "quick" / "test.json").read_text(encoding="utf-8"))
    assert f"{test['mean']:.1f} ± {test['std']:.1f} over {len(test['episodes'])} unseen" in ending
    console = next(block.text for block in _blocks(page) if "vmc test" in block.text)
    command, _, shown = console.partition("$ .venv/bin/vmc ")[2].partition("\n")
    printed = _run([sys.executable, "-m", "vmc", *shlex.split(command)], folder)
    assert re.sub(r"\d+", "0", printed) == re.sub(r"\d+", "0", shown)
    assert float(re.findall(r": ([\d.]+) ±", printed)[0]) > 800


def _run(arguments: list[Any], folder: Path) -> str:
    paths = [str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    done = subprocess.run(arguments, check=False, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_site_builds_without_a_warning() -> None:
    zensical = Path(sys.executable).with_name("zensical")
    _run([zensical, "build", "--strict", "--clean"], ROOT)
