import ast
from pathlib import Path

import pytest

import vmc

_MODULES = sorted(Path(vmc.__file__).parent.rglob("*.py"))
_FORBIDDEN = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: str(path.relative_to(Path(vmc.__file__).parent)))
def test_no_module_reads_what_can_run_code(path: Path) -> None:
    """No pickle, no `torch.load`, no `eval` or `exec`; worker processes' pipes are `multiprocessing`'s own."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not _FORBIDDEN & {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in _FORBIDDEN
        elif isinstance(node, ast.keyword):
            assert node.arg != "allow_pickle"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) != ("torch", "load")
