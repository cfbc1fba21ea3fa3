"""Checkpoints are verified and replaced atomically."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vmc.storage.checkpoint
from vmc.errors import VmcError
from vmc.storage.checkpoint import (
    SCHEMA,
    Checkpoint,
    Form,
    check_forms,
    checkpoint_faults,
    has_checkpoint,
    load_checkpoint,
    read_sidecar,
    save_checkpoint,
    versions,
)

Arrays = dict[str, npt.NDArray[Any]]
INFO = {"settings": {"latent_size": 8, "learning_rate": 0.5}, "step": 12}
WEIGHTS: Arrays = {
    "layer.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "scalar": np.array(2.5, np.float64),
    "strided": np.arange(12.0).reshape(3, 4).T,
    "empty": np.empty((0, 3), np.float32),
}
STATE: Arrays = {"step": np.array(7, np.int64), "rng": np.arange(9, dtype=np.uint8), "flag": np.array(True)}


def _load(directory: Path) -> Checkpoint:
    return load_checkpoint(directory, "latest", "vmc train-vae")


def _same(found: Arrays, expected: Arrays) -> bool:
    assert found.keys() == expected.keys()
    return all(
        (found[name].dtype, found[name].shape) == (array.dtype, array.shape) and np.array_equal(found[name], array)
        for name, array in expected.items()
    )


def _other() -> Arrays:
    return {name: np.asarray(array + 1) for name, array in WEIGHTS.items()}


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    assert not has_checkpoint(tmp_path, "latest")
    sha256 = save_checkpoint(tmp_path / "new" / "folder", "latest", INFO, WEIGHTS, STATE)
    assert has_checkpoint(tmp_path / "new" / "folder", "latest")
    found = _load(tmp_path / "new" / "folder")
    assert found.info == INFO
    assert _same(found.weights, WEIGHTS)
    assert _same(found.state, STATE)
    assert found.sha256 == sha256
    assert found.weights["scalar"].shape == ()


def test_a_checkpoint_without_state(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "best", INFO, WEIGHTS)
    found = load_checkpoint(tmp_path, "best", "vmc train-vae")
    assert found.state == {}
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_the_hash_names_the_weights_alone(tmp_path: Path) -> None:
    first = save_checkpoint(tmp_path, "a", INFO, WEIGHTS, STATE)
    assert save_checkpoint(tmp_path, "b", {"step": 99}, WEIGHTS) == first
    assert save_checkpoint(tmp_path, "c", INFO, _other(), STATE) != first


def test_replacing_a_checkpoint_leaves_no_stale_files(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "best", INFO, WEIGHTS, STATE)
    for step in range(3):
        save_checkpoint(tmp_path, "latest", {"step": step}, {"w": np.array([float(step)])}, {"s": np.array(step)})
    save_checkpoint(tmp_path, "latest", {"step": 3}, {"w": np.array([2.0])})
    names = sorted(path.stem.split("-")[0] + path.suffix for path in tmp_path.iterdir())
    assert names == ["best.json", "best.safetensors", "best.safetensors", "latest.json", "latest.safetensors"]
    assert _load(tmp_path).info == {"step": 3}
    assert _same(load_checkpoint(tmp_path, "best", "vmc train-vae").state, STATE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one checkpoint. Tests damage it and restore it."""
    directory = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(directory, "latest", INFO, WEIGHTS, STATE)
    return directory


@pytest.mark.parametrize("pattern", ["latest-weights-*", "latest-state-*", "latest.json"])
@settings(deadline=None, max_examples=80)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_detected(whole: Path, pattern: str, place: float, bit: int) -> None:
    (path,) = whole.glob(pattern)
    data = path.read_bytes()
    damaged = bytearray(data)
    damaged[int(place * len(data))] ^= 1 << bit
    try:
        path.write_bytes(damaged)
        with pytest.raises(VmcError, match=str(whole)):
            _load(whole)
    finally:
        path.write_bytes(data)
    assert _same(_load(whole).weights, WEIGHTS)


@pytest.mark.parametrize("pattern", ["latest-weights-*", "latest-state-*", "latest.json"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_detected(whole: Path, pattern: str, part: float) -> None:
    (path,) = whole.glob(pattern)
    data = path.read_bytes()
    try:
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(VmcError, match=f"{path.name} is corrupt") as caught:
            _load(whole)
        assert "vmc train-vae" in str(caught.value)
    finally:
        path.write_bytes(data)


@pytest.mark.parametrize("text", ["[]", "[1]", "3", "null", '"text"', "{}", "\udcff"])
def test_a_sidecar_that_is_something_else_is_corrupt(text: str, tmp_path: Path) -> None:
    (tmp_path / "latest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(VmcError, match=r"latest\.json is corrupt"):
        read_sidecar(tmp_path, "latest", "vmc train-vae")


@pytest.mark.parametrize("kind", ["weights", "state"])
def test_a_missing_file_is_named(kind: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "latest", INFO, WEIGHTS, STATE)
    (path,) = tmp_path.glob(f"latest-{kind}-*")
    path.unlink()
    with pytest.raises(VmcError, match=f"{path} is missing"):
        _load(tmp_path)


def test_a_missing_file_has_a_way_out_that_works(tmp_path: Path) -> None:
    """With only one of the two gone, a training would go on, or refuse to."""
    for name in ("best", "latest", "starts"):
        save_checkpoint(tmp_path, name, INFO, WEIGHTS)
    for name, removed in (("best", "best.json and latest.json"), ("latest", "best.json and latest.json")):
        next(tmp_path.glob(f"{name}-weights-*")).unlink()
        with pytest.raises(VmcError) as caught:
            load_checkpoint(tmp_path, name, "vmc train-vae")
        hint = f"Restore it from a copy, or remove {removed} in {tmp_path} and run `vmc train-vae` again."
        assert caught.value.hint == hint
    next(tmp_path.glob("starts-weights-*")).unlink()
    with pytest.raises(VmcError, match=r"or remove starts\.json in"):
        load_checkpoint(tmp_path, "starts", "vmc train-mdrnn")
    (tmp_path / "best.json").unlink()
    with pytest.raises(VmcError, match=r"There is no checkpoint .*\n.*remove latest\.json in"):
        load_checkpoint(tmp_path, "best", "vmc train-vae")


def test_every_file_that_is_missing_or_corrupt_is_a_fault(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "latest", INFO, WEIGHTS, STATE)
    assert checkpoint_faults(tmp_path, "latest", "x") == []
    (weights,), (state,) = tmp_path.glob("latest-weights-*"), tmp_path.glob("latest-state-*")
    weights.unlink()
    state.write_bytes(b"other")
    missing, corrupt = checkpoint_faults(tmp_path, "latest", "x")
    assert missing.problem == f"{weights} is missing, but latest.json names it."
    assert f"{state} is corrupt" in corrupt.problem
    (nothing,) = checkpoint_faults(tmp_path, "best", "x")
    assert "There is no checkpoint" in nothing.problem


def test_a_checkpoint_that_was_never_made_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(VmcError, match="There is no checkpoint") as caught:
        _load(tmp_path)
    assert caught.value.hint == "Run `vmc train-vae` first."
    assert str(tmp_path / "latest.json") in str(caught.value)


def test_another_schema_is_told_apart_from_damage(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "latest", INFO, WEIGHTS)
    path = tmp_path / "latest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": SCHEMA + 1}))
    with pytest.raises(VmcError, match=f"has checkpoint schema {SCHEMA + 1}; this vmc reads schema {SCHEMA}"):
        _load(tmp_path)


def test_another_checkpoints_weights_are_refused(tmp_path: Path) -> None:
    """The sidecar and the weights are both intact, but belong to different checkpoints."""
    save_checkpoint(tmp_path, "latest", INFO, WEIGHTS)
    save_checkpoint(tmp_path, "other", INFO, _other())
    (mine,), (theirs,) = tmp_path.glob("latest-weights-*"), tmp_path.glob("other-weights-*")
    mine.write_bytes(theirs.read_bytes())
    with pytest.raises(VmcError, match="is corrupt"):
        _load(tmp_path)


def test_a_number_that_json_lacks_is_refused_and_the_old_checkpoint_stays(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "latest", INFO, WEIGHTS)
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path, "latest", {"loss": float("nan")}, _other())
    assert _load(tmp_path).info == INFO


class _FailingCall:
    """Calls a function; call number `index` fails with the error of a full disk."""

    def __init__(self, real: Callable[..., Any], index: int) -> None:
        self._real, self._index = real, index
        self.calls = 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls == self._index + 1:
            raise OSError(28, "No space left on device")
        return self._real(*args, **options)


@pytest.mark.parametrize("call", ["replace", "write_bytes", "write_text", "unlink", "mkdir", "fsync"])
def test_an_error_at_any_step_of_a_save_leaves_a_whole_checkpoint(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th call fails as on a full disk, for every n up to the number of calls of a save."""
    save_checkpoint(tmp_path, "latest", INFO, WEIGHTS, STATE)
    owner: Any = os if call == "fsync" else Path
    real = getattr(owner, call)
    for index in range(20):
        failing = _FailingCall(real, index)
        with monkeypatch.context() as patch:
            patch.setattr(owner, call, lambda *args, call=failing, **options: call(*args, **options))
            try:
                save_checkpoint(tmp_path, "latest", {"step": 99}, _other(), STATE)
            except (VmcError, OSError):
                assert failing.calls == index + 1
        found = _load(tmp_path)
        old, new = (INFO, WEIGHTS), ({"step": 99}, _other())
        info, weights = old if found.info == INFO else new
        assert found.info == info
        assert _same(found.weights, weights)
        assert _same(found.state, STATE)
        if failing.calls <= index:
            assert index > 0, "a save never makes this call"
            break
        save_checkpoint(tmp_path, "latest", INFO, WEIGHTS, STATE)
        assert len(list(tmp_path.iterdir())) == 3, "a failed save has left something for good"
    else:
        pytest.fail("a save makes too many calls")


@pytest.mark.parametrize("call", ["replace", "write_bytes", "write_text"])
def test_a_full_disk_is_told_as_such(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, call, fail)
    with pytest.raises(VmcError, match=rf"{tmp_path}/latest.*no space left"):
        save_checkpoint(tmp_path, "latest", INFO, WEIGHTS)
    assert list(tmp_path.glob("*.partial")) == []


KILLED_WRITER = """
import os, sys
from pathlib import Path
import numpy as np
from vmc.storage.checkpoint import load_checkpoint, save_checkpoint

directory = Path(sys.argv[1])
old, new = ({"w": np.full(5, value), "b": np.array(value)} for value in (1.0, 2.0))
save_checkpoint(directory, "latest", {"which": "old"}, old, old)

def killed_at(index):
    \"\"\"Saves in a child that dies, without any clean-up, at its index-th touch of the file system.\"\"\"
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = index
    def hook(event, args):
        nonlocal left
        if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(directory) in str(args[0]):
            left -= 1
            if left < 0:
                os._exit(9)
    sys.addaudithook(hook)
    save_checkpoint(directory, "latest", {"which": "new"}, new, new)
    os._exit(0)

seen = []
index = 0
while killed_at(index):
    found = load_checkpoint(directory, "latest", "x")
    expected = {"old": old, "new": new}[found.info["which"]]
    for arrays in (found.weights, found.state):
        assert all(np.array_equal(arrays[name], expected[name]) for name in expected), index
    seen.append(found.info["which"])
    save_checkpoint(directory, "latest", {"which": "old"}, old, old)
    index += 1
print(len(seen), seen == sorted(seen, reverse=True), *sorted(set(seen)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_kill_at_any_step_of_a_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Before the commit it is the old checkpoint, after it the new one."""
    script = tmp_path / "writer.py"
    script.write_text(KILLED_WRITER)
    command = [sys.executable, str(script), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    steps, in_order, *which = done.stdout.split()
    assert int(steps) > 8
    assert in_order == "True"
    assert which == ["new", "old"]


FORMS = {name: Form(array.shape, str(array.dtype)) for name, array in WEIGHTS.items()}


def test_arrays_of_the_expected_form_are_accepted() -> None:
    check_forms(Path("x"), FORMS, WEIGHTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer.weight": Form((4, 3), "float32")}, r"layer.weight is float32 \(3, 4\); .* expects float32 \(4, 3\)"),
        ({"layer.weight": Form((3, 4), "float64")}, r"layer.weight is float32 \(3, 4\); .* expects float64 \(3, 4\)"),
        ({"bias": Form((1,), "float32")}, r"bias is missing; .* expects float32 \(1,\)"),
    ],
)
def test_another_form_is_told_with_the_array(change: dict[str, Form], message: str) -> None:
    with pytest.raises(VmcError, match=f"some/latest.json: {message}"):
        check_forms(Path("some/latest.json"), FORMS | change, WEIGHTS)


def test_an_array_too_many_is_told() -> None:
    with pytest.raises(VmcError, match=r"extra is float64 \(2,\); this model expects no such array"):
        check_forms(Path("x"), {}, {"extra": np.zeros(2)})


def test_infinity_is_told() -> None:
    with pytest.raises(VmcError, match=r"a holds infinity"):
        check_forms(Path("x"), {"a": Form((1,), "float64")}, {"a": np.array([np.inf])})


def test_nan_is_told_by_the_array(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "best", INFO, {"a": np.array([1.0, np.nan])})
    with pytest.raises(VmcError, match=r"a holds NaN"):
        load_checkpoint(tmp_path, "best", "vmc train-vae")


def test_a_fact_that_is_missing_is_told(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "best", INFO, WEIGHTS)
    with pytest.raises(VmcError, match=r"best.json does not say 'kind'"):
        _ = load_checkpoint(tmp_path, "best", "vmc train-vae").info["kind"]


def _resealed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A sidecar with another content and a valid hash."""
    content = json.loads(path.read_text())
    del content["sha256"]
    change(content)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({"sha256": digest, **content}))


@pytest.mark.parametrize("name", ["../best-weights.safetensors", "/etc/passwd", "a/b", "", ".."])
def test_a_sidecar_names_files_of_its_own_folder(name: str, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "best", INFO, WEIGHTS)
    _resealed(tmp_path / "best.json", lambda content: content["files"]["weights"].update(name=name))
    with pytest.raises(VmcError, match=r"best.json is corrupt"):
        load_checkpoint(tmp_path, "best", "vmc train-vae")


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a": NaN}', '{"a": 1e999}', "[]", "null", '"text"', "\udcff"], ids=range(7)
)
def test_what_is_no_sidecar_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "best.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(VmcError, match=r"best.json is corrupt"):
        load_checkpoint(tmp_path, "best", "vmc train-vae")


def test_a_folder_in_a_files_place_is_told(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "best", INFO, WEIGHTS)
    weights = next(tmp_path.glob("best-weights*"))
    weights.unlink()
    weights.mkdir()
    with pytest.raises(VmcError, match=r"best-weights.* is corrupt"):
        load_checkpoint(tmp_path, "best", "vmc train-vae")
    (tmp_path / "best.json").unlink()
    (tmp_path / "best.json").mkdir()
    with pytest.raises(VmcError, match=r"best.json is corrupt"):
        read_sidecar(tmp_path, "best", "vmc train-vae")


def test_versions_does_without_a_package_that_goes_by_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gymnasium before 1.4, or on Python 3.14, installs `box2d-py` and `pygame`, not `box2d` and `pygame-ce`."""
    real = vmc.storage.checkpoint.version

    def without(name: str) -> str:
        if name in ("box2d", "pygame-ce"):
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(vmc.storage.checkpoint, "version", without)
    found = versions()
    assert {"python", "torch", "numpy", "gymnasium", "vmc"} <= found.keys()
