"""The notebook in `examples/` runs, with small settings, and is stored without outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbclient
import nbformat
import pytest

_NOTEBOOK = Path(__file__).parents[1] / "examples" / "world_models.ipynb"


def test_it_is_stored_without_outputs() -> None:
    cells = json.loads(_NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.filterwarnings("default")
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(_NOTEBOOK.parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in paths if path))
    monkeypatch.setenv("VMC_NOTEBOOK", "small")
    notebook = nbformat.read(_NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert (tmp_path / "notebook-small" / "dream.gif").exists()
    assert (tmp_path / "notebook-small" / "run" / "test.json").exists()
