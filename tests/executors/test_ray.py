"""Ray: two nodes on this machine, which come and go, give what local worker processes give."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import executor_workers as workers
import numpy as np
import psutil
import pytest
from conftest import TOY, ToyRun

from vmc.control.real_fitness import EpisodeJob, EpisodeWorker
from vmc.episode import Limits
from vmc.errors import VmcError
from vmc.executors import ExecutorSettings, make_executor, num_workers
from vmc.executors.contract import MAX_ATTEMPTS
from vmc.models.agent import load_body
from vmc.storage.rollouts import RolloutDataset

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

from vmc.executors import ray as ray_executor  # noqa: E402

JOBS = [3, 1, 4, 2, 5, 0, 2]
RESULTS = {position: 10 * job for position, job in enumerate(JOBS)}
# Ray's own code leaves files and sockets open, and warns of its future defaults.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
# A node whose heart stops is given up within seconds here, not within a minute.
_HEALTH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without processors, for the driver, and two nodes with one each."""
    with pytest.MonkeyPatch.context() as patch:
        # The nodes inherit it, and find what the tests define.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.setenv("OMP_NUM_THREADS", "7")
        made = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": _HEALTH})
        for _ in range(2):
            made.add_node(num_cpus=1, num_gpus=1)
        ray.init(made.address, logging_level="ERROR", log_to_driver=False)
        yield made
        ray.shutdown()
        made.shutdown()
        ray_executor._ACTORS.clear()


def _settings(cluster: Cluster, number: int | None = 2, **named: Any) -> ExecutorSettings:
    return ExecutorSettings(number, "ray", cluster.address, **named)


def _results(make_worker: Callable[[], Any], settings: ExecutorSettings, jobs: list[Any]) -> dict[int, Any]:
    with closing(make_executor(make_worker, settings)) as executor:
        return dict(executor.map(jobs))


def test_results_come_back_with_their_positions(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    assert _results(workers.UnevenWorker, _settings(cluster), JOBS) == RESULTS
    assert "Ray: 7 jobs in" in capfd.readouterr().err
    assert _results(workers.TenfoldWorker, _settings(cluster), []) == {}


def test_a_worker_has_one_thread_and_no_torch_and_is_kept(cluster: Cluster) -> None:
    """Whatever the node has set: here OMP_NUM_THREADS is 7."""
    jobs: list[Any] = [("variable", "OMP_NUM_THREADS"), ("variable", "OPENBLAS_NUM_THREADS"), ("module", "torch")]
    settings = _settings(cluster)
    assert _results(workers.InspectingWorker, settings, jobs) == {0: "1", 1: "1", 2: False}
    actors = list(ray_executor._ACTORS[0.0])
    assert _results(workers.TenfoldWorker, settings, JOBS) == RESULTS  # another executor, in the same processes
    assert ray_executor._ACTORS[0.0] == actors


@pytest.mark.parametrize(
    ("how", "expected"),
    [("raise", "RuntimeError: the engine is on fire"), ("exit", "node died"), ("kill", "node died")],
)
def test_a_failed_job_is_run_again_and_not_on_the_worker_that_failed(
    cluster: Cluster, how: str, expected: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The workers count attempts on disk. Two of the jobs are 2 and one attempt fails, so there are three attempts."""
    assert _results(partial(workers.FailingWorker, tmp_path, how, 1), _settings(cluster), JOBS) == RESULTS
    attempts = (tmp_path / "attempts-2").read_text().split()
    assert len(attempts) == JOBS.count(2) + 1
    assert attempts[0] not in attempts[1:]
    shown = capfd.readouterr().err
    assert expected in shown
    assert "on node" in shown
    assert "1 were run again" in shown


def test_a_job_that_always_fails_is_given_up_with_its_traceback_and_node(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(VmcError, match=rf"failed {MAX_ATTEMPTS} times, last in .* on node \S+ \S+:(.|\n)*on fire"):
        _results(partial(workers.FailingWorker, tmp_path, "raise", 100), _settings(cluster), [1, 2])
    assert len((tmp_path / "attempts-2").read_text().split()) == MAX_ATTEMPTS


def test_a_vmc_error_is_passed_on_and_not_tried_again(cluster: Cluster, tmp_path: Path) -> None:
    make_worker = partial(workers.FailingWorker, tmp_path, "refuse", 1)
    with closing(make_executor(make_worker, _settings(cluster))) as executor:
        with pytest.raises(VmcError) as caught:
            list(executor.map([1, 2]))
        assert caught.value.hint == "Train it again."
        assert dict(executor.map([2])) == {0: 20}  # the executor still works


def test_workers_that_died_between_two_maps_cost_a_job_nothing(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As when a node dies while V trains: the next stage begins with workers that live."""
    settings = _settings(cluster)
    with closing(make_executor(workers.InspectingWorker, settings)) as executor:
        pids = set(dict(executor.map([("pid", "")] * 40)).values())
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for actor in ray_executor._ACTORS[0.0]:
            actor.heard -= 60
        assert dict(executor.map([("variable", "OMP_NUM_THREADS")])) == {0: "1"}
    assert "0 were run again" in capfd.readouterr().err


def test_executors_that_share_workers_leave_each_other_alone(cluster: Cluster) -> None:
    settings = _settings(cluster)
    one, other = (make_executor(make, settings) for make in (workers.UnevenWorker, workers.TenfoldWorker))
    with closing(one):
        results = one.map(JOBS)
        found = dict([next(iter(results))])
        with closing(other), pytest.raises(RuntimeError, match="under way"):
            other.map([1])
        found.update(results)
    assert found == RESULTS


@pytest.mark.parametrize("how", ["hang", "stop"])
def test_a_worker_that_hangs_is_ended_and_its_job_run_again(
    cluster: Cluster, how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    make_worker = partial(workers.FailingWorker, tmp_path, how, 1)
    assert _results(make_worker, _settings(cluster, job_timeout=4), JOBS) == RESULTS
    assert "was ended after 4 s (--job-timeout)" in capfd.readouterr().err


def test_the_driver_takes_a_result_before_the_next_job_begins(cluster: Cluster, tmp_path: Path) -> None:
    """So what waits for a slow driver is no more than a result for each worker."""
    make_worker = partial(workers.FailingWorker, tmp_path, "raise", 0)
    for settings in (_settings(cluster), ExecutorSettings(2)):
        with closing(make_executor(make_worker, settings)) as executor:
            results = executor.map(range(100, 120))
            next(iter(results))
            time.sleep(1)
            begun = len(list(tmp_path.glob("attempts-*")))
            assert begun <= 3
            assert len(list(results)) == 19
        for path in tmp_path.glob("attempts-*"):
            path.unlink()


def test_each_worker_gets_its_own_gpu_where_it_has_use_for_one(cluster: Cluster) -> None:
    settings, jobs = _settings(cluster, None, gpus_per_worker=1.0), [("variable", "CUDA_VISIBLE_DEVICES")] * 8
    assert num_workers(settings) == 2
    assert num_workers(_settings(cluster, None, gpus_per_worker=0.4)) == 4
    with closing(make_executor(workers.InspectingWorker, settings, on_gpus=True)) as executor:
        assert set(dict(executor.map(jobs)).values()) == {"0"}  # the first of its node's
    with closing(make_executor(workers.InspectingWorker, settings)) as executor:  # steps environments
        assert "0" not in dict(executor.map(jobs)).values()


def test_another_version_on_a_node_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = ray_executor._software()
    monkeypatch.setattr(ray_executor, "_software", lambda: {**mine, "gymnasium": "0.1"})
    _dismiss_all()
    expected = rf"Node \S+ \S+ has other versions: gymnasium {mine['gymnasium']} \(here 0.1\)(.|\n)*same software"
    with pytest.raises(VmcError, match=expected):
        _results(workers.TenfoldWorker, _settings(cluster, 1), [1])


def test_another_processor_is_told_and_used(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = ray_executor._software()
    monkeypatch.setattr(ray_executor, "_software", lambda: {**mine, "blas": "openblas Other"})
    _dismiss_all()
    assert _results(workers.TenfoldWorker, _settings(cluster, 1), [1]) == {0: 10}
    assert "has another processor: blas" in capfd.readouterr().err


def _episodes(toy: ToyRun) -> tuple[Callable[[], EpisodeWorker], list[EpisodeJob]]:
    body = load_body(toy.run, TOY)
    shape = body.controller_shape("zh")
    candidates = np.random.default_rng(0).standard_normal((6, shape.num_parameters))
    jobs = [EpisodeJob(candidate, seed, Limits()) for candidate in candidates for seed in range(8)]
    return partial(EpisodeWorker, body, TOY, shape), jobs


def test_a_node_dies_in_mid_generation_and_another_comes(
    cluster: Cluster, toy: ToyRun, capfd: pytest.CaptureFixture[str]
) -> None:
    """The scores are those of two local workers, to the bit. The run's folder is gone: nothing is read from it."""
    make_worker, jobs = _episodes(toy)
    toy.run.rename(toy.run.with_name("gone"))
    expected = _results(make_worker, ExecutorSettings(2), jobs)
    doomed = cluster.add_node(num_cpus=1)
    found = {}
    with closing(make_executor(make_worker, _settings(cluster, None))) as executor:  # max: those that come, too
        for position, result in executor.map(jobs):
            found[position] = result
            if len(found) == 8:
                assert workers.wait_until(lambda: _nodes() == 3)
                cluster.remove_node(doomed, allow_graceful=False)
            if len(found) == 24:
                cluster.add_node(num_cpus=1)
    assert found == expected
    assert "Ray: 48 jobs" in capfd.readouterr().err


def test_a_job_on_a_node_that_dies_is_run_again_elsewhere(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every node has a job when one of them goes. The others end when that one has begun again."""
    doomed = cluster.add_node(num_cpus=1)
    raylet = doomed.all_processes["raylet"][0].process.pid
    jobs = [tmp_path / f"job-{position}" for position in range(_nodes())]

    def parents() -> list[str]:
        return [path.read_text() for path in tmp_path.glob("*-begun")]

    def lose_the_node() -> None:
        assert workers.wait_until(lambda: len(parents()) == len(jobs) and all(parents()))
        (lost,) = (path for path in tmp_path.glob("*-begun") if path.read_text() == str(raylet))
        cluster.remove_node(doomed, allow_graceful=False)
        for job in jobs:
            if not lost.name.startswith(job.name):
                job.with_name(f"{job.name}-go").touch()
        assert workers.wait_until(lambda: lost.read_text() not in ("", str(raylet)))
        lost.with_name(lost.name.replace("begun", "go")).touch()

    thread = threading.Thread(target=lose_the_node)
    thread.start()
    found = _results(workers.WaitingWorker, _settings(cluster, None), jobs)
    thread.join()
    assert found == {position: job.name for position, job in enumerate(jobs)}
    shown = capfd.readouterr().err
    assert "The worker or its node died" in shown
    assert "1 were run again" in shown


def _nodes() -> int:
    """Nodes that live and have a processor."""
    return sum(node["Alive"] and "CPU" in node["Resources"] for node in ray.nodes())


def _dismiss_all() -> None:
    for actors in ray_executor._ACTORS.values():
        while actors:
            actors.pop().kill()


def _vmc(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vmc", *arguments]


def _collect(data: Path, episodes: int, *more: str) -> list[str]:
    return _vmc("rollouts", "--env", TOY, "--data", str(data), "--episodes", str(episodes), *more)


def test_a_killed_driver_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    """`--address local` starts Ray for this command alone. The episodes are those of local processes."""
    on_ray = ("--executor", "ray", "--workers", "2")
    command = _collect(tmp_path / "data", 4000, *on_ray)
    started: list[psutil.Process] = []
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            assert workers.wait_until(lambda: len(list((tmp_path / "data").glob("*.h5"))) > 2, 120)
            # Ray's agents notice after a minute that they are alone.
            children = psutil.Process(process.pid).children(recursive=True)
            started = [child for child in children if "Agent" not in child.name()]
        finally:
            process.kill()
    assert len(started) > 4  # Ray's own, and the workers
    assert workers.wait_until(lambda: not any(child.is_running() for child in started), 60)
    done = len(list((tmp_path / "data").glob("*.h5")))
    assert 2 < done < 1000
    subprocess.run(_collect(tmp_path / "data", 4 * (done + 4), *on_ray), check=True, timeout=120)
    subprocess.run(_collect(tmp_path / "other", 4 * (done + 4), "--workers", "2"), check=True, timeout=120)
    assert RolloutDataset(tmp_path / "data").fingerprint() == RolloutDataset(tmp_path / "other").fingerprint()


STRANGE = """
import gymnasium as gym
from vmc.envs.toy import ToyEnv

gym.register("Strange-v0", entry_point=ToyEnv, max_episode_steps=9)
"""


def test_python_itself_is_not_sent_from_a_folder_that_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    sent = ray_executor.own_code()
    assert Path(ray_executor.__file__).parents[1] in sent
    assert Path(workers.__file__) in sent
    assert Path(os.__file__) not in sent
    assert Path(np.__file__).parent not in sent
    assert all(path.is_dir() or path.suffix == ".py" for path in sent)


def test_a_cluster_gets_the_code_of_a_checkout_and_of_the_working_folder(cluster: Cluster, tmp_path: Path) -> None:
    """The nodes know neither this folder nor its module; those of the fixture inherit a path, this one does not."""
    (tmp_path / "strange.py").write_text(STRANGE)
    command = _vmc("rollouts", "--env", "strange:Strange-v0", "--data", "data", "--episodes", "4")
    command += ["--executor", "ray", "--address", cluster.address, "--workers", "1"]
    _dismiss_all()
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    assert "data: 4 episodes" in found.stdout
    assert "Ray: 1 jobs" in found.stderr


@pytest.mark.parametrize(
    ("address", "expected"), [("127.0.0.1:1", "Nobody answers at 127.0.0.1:1"), ("ray://127.0.0.1:1", "Nobody answers")]
)
def test_a_cluster_that_does_not_answer_is_told(address: str, expected: str, tmp_path: Path) -> None:
    command = _collect(tmp_path / "data", 4, "--executor", "ray", "--address", address)
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 1
    assert expected in found.stderr
    assert "ray start --head" in found.stderr
    assert "Traceback" not in found.stderr


_STRANGER = """
import sys, ray
try:
    ray.init(sys.argv[1], logging_level="CRITICAL")
except Exception as error:
    print(f"{type(error).__name__}: {error}")
else:
    print("ran", ray.get(ray.remote(lambda: 42).options(num_cpus=0).remote()))
"""


def test_a_stranger_without_the_token_is_refused(tmp_path: Path) -> None:
    """By the Ray that `--address local` starts. With the token the same client is served."""
    with subprocess.Popen(_collect(tmp_path / "data", 4000, "--executor", "ray"), stderr=subprocess.DEVNULL) as process:
        try:
            assert workers.wait_until(lambda: len(list((tmp_path / "data").glob("*.h5"))) > 0, 120)
            words = [word for child in psutil.Process(process.pid).children(recursive=True) for word in child.cmdline()]
            address = next(word.partition("=")[2] for word in words if word.startswith("--gcs-address="))
            found = {}
            for mode in ("disabled", "token"):
                environment = {**os.environ, "RAY_AUTH_MODE": mode}
                command = [sys.executable, "-c", _STRANGER, address]
                found[mode] = subprocess.run(
                    command, env=environment, capture_output=True, text=True, timeout=120, check=False
                )
        finally:
            process.kill()
    assert "ran" not in found["disabled"].stdout
    assert "token is missing" in found["disabled"].stderr, found["disabled"]
    assert "ran 42" in found["token"].stdout, found["token"]
