"""Executors give the same results for every number of workers, also when workers die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import executor_workers as workers
import pytest

from vmc.errors import VmcError
from vmc.executors import ExecutorSettings, ProcessExecutor, SerialExecutor, available_cores, make_executor
from vmc.executors.contract import MAX_ATTEMPTS

JOBS = [3, 1, 4, 2, 5, 0, 2]
RESULTS = {position: 10 * job for position, job in enumerate(JOBS)}


def _results(make_worker: Callable[[], Any], num_workers: int, jobs: list[Any]) -> dict[int, Any]:
    with closing(make_executor(make_worker, num_workers)) as executor:
        pairs = list(executor.map(jobs))
    assert len(pairs) == len(jobs)
    return dict(pairs)


def _attempts(memory: Path, job: int) -> list[str]:
    path = memory / f"attempts-{job}"
    return path.read_text().split() if path.exists() else []


def _is_running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def test_zero_workers_is_this_process() -> None:
    assert isinstance(make_executor(workers.TenfoldWorker, 0), SerialExecutor)
    assert isinstance(make_executor(workers.TenfoldWorker, 1), ProcessExecutor)
    assert available_cores() >= 1


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_results_do_not_depend_on_the_number_of_workers(num_workers: int) -> None:
    assert _results(workers.UnevenWorker, num_workers, JOBS) == RESULTS


@pytest.mark.parametrize("num_workers", [0, 2])
def test_no_jobs_give_no_results(num_workers: int) -> None:
    assert _results(workers.TenfoldWorker, num_workers, []) == {}


def test_workers_are_kept_between_maps_and_not_more_than_there_are_jobs() -> None:
    with closing(ProcessExecutor(workers.TenfoldWorker, 2)) as executor:
        assert dict(executor.map([1])) == {0: 10}
        first = executor.pids
        assert len(first) == 1
        assert dict(executor.map(JOBS)) == RESULTS
        assert executor.pids[:1] == first
        assert len(executor.pids) == 2
        before = executor.pids
    assert not any(_is_running(pid) for pid in before)
    assert executor.pids == []


@pytest.mark.parametrize(("num_workers", "how"), [(0, "raise"), (2, "raise"), (2, "exit"), (2, "kill")])
def test_a_failed_job_is_run_again_and_not_on_the_worker_that_failed(
    num_workers: int, how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The workers count attempts on disk. Two of the jobs are 2 and one attempt fails, so there are three attempts."""
    make_worker = partial(workers.FailingWorker, tmp_path, how, 1)
    assert _results(make_worker, num_workers, JOBS) == RESULTS
    attempts = _attempts(tmp_path, 2)
    assert len(attempts) == JOBS.count(2) + 1
    assert len(_attempts(tmp_path, 3)) == 1
    if num_workers:
        assert attempts[0] not in attempts[1:]  # the failed process is not used again
    else:
        assert len((tmp_path / "made").read_text().split()) == 2
    shown = capfd.readouterr().err
    assert "its job is run again" in shown
    expected = {
        "raise": "RuntimeError: the engine is on fire",
        "exit": "exit code 3",
        "kill": "signal SIGKILL",
    }
    assert expected[how] in shown


@pytest.mark.parametrize("how", ["hang", "stop", "stop while sending"])
def test_a_worker_that_hangs_is_ended_and_its_job_run_again(
    how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The other jobs take no time; a worker starts in less than a second, and is given ten."""
    settings = ExecutorSettings(2, job_timeout=10)
    with closing(make_executor(partial(workers.FailingWorker, tmp_path, how, 1), settings)) as executor:
        started = time.monotonic()
        assert dict(executor.map(JOBS)) == RESULTS
        first = time.monotonic() - started
        assert dict(executor.map([3, 1])) == {0: 30, 1: 10}  # an idle worker is not late
    assert 10 <= first < 60
    assert "was ended after 10 s (--job-timeout)" in capfd.readouterr().err


def test_a_worker_that_takes_no_job_is_ended(capfd: pytest.CaptureFixture[str]) -> None:
    """The job is larger than what a pipe holds."""
    jobs = [bytes([number]) * 10_000_000 for number in range(3)]
    with closing(make_executor(workers.LengthWorker, ExecutorSettings(2, job_timeout=10))) as executor:
        assert dict(executor.map([b"a", b"b"])) == {0: 1, 1: 1}
        os.kill(executor.pids[0], signal.SIGSTOP)  # type: ignore[attr-defined]
        assert dict(executor.map(jobs)) == {0: 10_000_000, 1: 10_000_000, 2: 10_000_000}
    assert "was ended after 10 s (--job-timeout)" in capfd.readouterr().err


def test_a_job_that_always_hangs_is_given_up(tmp_path: Path) -> None:
    make_worker = partial(workers.FailingWorker, tmp_path, "hang", 100)
    with (
        closing(make_executor(make_worker, ExecutorSettings(1, job_timeout=3))) as executor,
        pytest.raises(VmcError, match=rf"failed {MAX_ATTEMPTS} times(.|\n)*job-timeout"),
    ):
        list(executor.map([1, 2]))


def test_a_timeout_needs_worker_processes() -> None:
    with pytest.raises(VmcError, match="--workers 1 or more"):
        ExecutorSettings(0, job_timeout=3)


def test_a_worker_that_dies_while_it_sends_its_result_is_replaced(tmp_path: Path) -> None:
    """The system can kill a worker when half of its result is in the pipe."""
    make_worker = partial(workers.FailingWorker, tmp_path, "die while sending", 1)
    assert _results(make_worker, 1, [1, 2, 3]) == {0: 10, 1: 20, 2: 30}


@pytest.mark.parametrize(("num_workers", "how"), [(0, "raise"), (1, "raise"), (1, "kill")])
def test_a_job_that_always_fails_is_given_up(num_workers: int, how: str, tmp_path: Path) -> None:
    make_worker = partial(workers.FailingWorker, tmp_path, how, 100)
    expected = "the engine is on fire" if how == "raise" else "SIGKILL"
    with pytest.raises(VmcError, match=rf"failed {MAX_ATTEMPTS} times(.|\n)*{expected}"):
        _results(make_worker, num_workers, [1, 2])
    assert len(_attempts(tmp_path, 2)) == MAX_ATTEMPTS


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_vmc_error_is_passed_on_and_not_tried_again(num_workers: int, tmp_path: Path) -> None:
    make_worker = partial(workers.FailingWorker, tmp_path, "refuse", 1)
    with closing(make_executor(make_worker, num_workers)) as executor:
        with pytest.raises(VmcError) as caught:
            list(executor.map([1, 2]))
        assert (caught.value.problem, caught.value.hint) == ("The model is of another environment.", "Train it again.")
        assert len(_attempts(tmp_path, 2)) == 1
        assert dict(executor.map([2])) == {0: 20}  # the executor still works


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_vmc_error_in_making_the_worker_is_passed_on(num_workers: int) -> None:
    with pytest.raises(VmcError, match="There is no model"):
        _results(workers.UnmakeableWorker, num_workers, [1])


def test_a_map_that_is_left_early_leaves_no_stale_results() -> None:
    with closing(ProcessExecutor(workers.UnevenWorker, 2)) as executor:
        running = executor.map([2, 4, 6])
        next(iter(running))
        running.close()  # type: ignore[attr-defined]
        assert executor.pids == []
        assert dict(executor.map([7, 9])) == {0: 70, 1: 90}


def test_the_serial_worker_is_closed(tmp_path: Path) -> None:
    _results(partial(workers.FailingWorker, tmp_path, "raise", 0), 0, [1])
    assert (tmp_path / "closed").exists()


def test_a_worker_of_a_plain_job_is_single_threaded_and_has_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with torch starts slowly, and threads compete for the cores. The parent's environment is unchanged."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    jobs = [("variable", "OMP_NUM_THREADS"), ("variable", "OPENBLAS_NUM_THREADS"), ("module", "torch")]
    assert "torch" in sys.modules
    assert _results(workers.InspectingWorker, 1, jobs) == {0: "1", 1: "1", 2: False}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_a_worker_that_collects_imports_no_torch() -> None:
    code = "import sys, vmc.stages.collect; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


PARENT = """
import sys
from executor_workers import SleepingWorker
from vmc.executors import ProcessExecutor

if __name__ == "__main__":
    list(ProcessExecutor(SleepingWorker, 2).map([sys.argv[1]] * 2))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_their_parent(sent: signal.Signals, tmp_path: Path) -> None:
    """They die in the middle of a job, although the parent cannot stop them itself."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment) as parent:
        pids: list[int] = []
        try:
            assert workers.wait_until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
            pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
            assert all(_is_running(pid) for pid in pids)
            parent.send_signal(sent)
            parent.wait(timeout=60)
            assert workers.wait_until(lambda: not any(_is_running(pid) for pid in pids), 30)
        finally:
            parent.kill()
            for pid in filter(_is_running, pids):
                os.kill(pid, signal.SIGKILL)


def test_ctrl_c_is_left_to_the_parent() -> None:
    """A terminal sends SIGINT to all processes. A worker that died of it would count as a failure."""
    with closing(ProcessExecutor(workers.TenfoldWorker, 1)) as executor:
        list(executor.map([1]))
        before = executor.pids
        os.kill(before[0], signal.SIGINT)
        assert dict(executor.map([2])) == {0: 20}
        assert executor.pids == before


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from executor_workers import TenfoldWorker\n"
        "from vmc.executors import make_executor\n"
        "dict(make_executor(TenfoldWorker, 2).map([1, 2, 3]))\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1  # that of the script itself
    assert 'VmcError: The script has no line `if __name__ == "__main__":`' in done.stderr
