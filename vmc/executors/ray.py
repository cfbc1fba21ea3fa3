"""Jobs in actors on a Ray cluster, which may be this machine alone.

The driver places every job itself: an actor gets one when it is known to live, so that jobs never wait for a node that
is gone or has not come yet. Models go out once for all actors of a node, through Ray's object store; results stay where
they were made until the driver takes them.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from vmc.envs import inherited_variables
from vmc.errors import VmcError
from vmc.executors.contract import (
    MAX_ATTEMPTS,
    Done,
    ExecutorSettings,
    Failed,
    JobRunner,
    Worker,
    Workers,
    available_cores,
)
from vmc.executors.pool import Pool, PoolWorker, Statistics
from vmc.executors.processes import WORKER_ENVIRONMENT
from vmc.storage.checkpoint import versions

LOCAL = "local"
# The folder of vmc's own code.
_PACKAGE = Path(__file__).resolve().parents[1]
# Seconds between two looks at the cluster: nodes come and go.
_LOOK_EVERY = 5.0
# A look at many workers takes longer than the answer of one. So answers come together: after 5 ms with 1,000 workers.
_MANY, _PAUSE = 100, 5e-6
# Seconds between two updates of Ray's metrics.
_REPORT_EVERY = 1.0
# Seconds for an idle worker to answer.
_ANSWER = 10.0
# Seconds with fewer living workers than wanted, after which the user is told.
_PATIENCE = 30.0
# Those of `versions()` that say what a processor computes, not what software it has.
_HARDWARE = ("machine", "blas")


class RayExecutor(Pool):
    """A `Pool` of Ray actors with a processor each, or with GPUs.

    The actors are the process's: executors that need the same share them, one map after another, and the next stage
    finds them running.

    Raises:
        VmcError: there is no such cluster; a worker has other versions than this process.
    """

    def __init__(self, make_worker: Callable[[], Worker[Any, Any]], workers: Workers) -> None:
        super().__init__(make_worker, workers)
        self._workers: list[_Actor] = _ACTORS.setdefault(self.settings.gpus_per_worker, [])
        self._running: dict[Any, _Actor] = {}  # by the references to their results
        self._shared: Any = None  # the reference to `make_worker`, in the object store
        self._most, self._looked = 0, float("-inf")
        self._failed_starts = 0
        self._complete = self._told = time.monotonic()  # when all workers lived, and when the user was told
        self._reported = float("-inf")

    @staticmethod
    def most_workers(settings: ExecutorSettings) -> int:
        ray = connect(settings)
        resources = ray.cluster_resources()
        gpus = settings.gpus_per_worker
        if not gpus:
            return int(resources.get("CPU", 0))
        # A worker's share is of one GPU, and whole GPUs are of one node.
        if gpus < 1:
            return int(resources.get("GPU", 0)) * int(1 / gpus)
        return sum(int(node["Resources"].get("GPU", 0) / gpus) for node in ray.nodes() if node["Alive"])

    def close(self) -> None:
        """Ends workers that are busy; the others forget what they had for this executor, and stay."""
        if self.statistics.jobs:
            print(_summary(self.statistics, self._workers), file=sys.stderr, flush=True)
            _metrics().set(len(self._workers), self.statistics)
            self.statistics = Statistics()
        for worker in [*self._busy]:
            self._dismiss(worker)
        for worker in self._workers:
            worker.forget(self._shared)
        self._shared = None

    def map(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        if any(worker.position is not None for worker in self._workers):
            raise RuntimeError("Another map of this process is under way on Ray: executors share their workers.")
        return super().map(jobs)

    def _wanted(self) -> int:
        if self.settings.workers is not None:
            return self.settings.workers
        if time.monotonic() - self._looked > _LOOK_EVERY:
            self._most, self._looked = self.most_workers(self.settings), time.monotonic()
        return max(self._most, 1)

    def _start_worker(self) -> _Actor:
        connect(self.settings)
        return _Actor(_start_actor(self.settings))

    def _send(self, worker: _Actor, job: Any) -> None:
        import ray

        if self._shared is None:
            self._shared = ray.put(ray.cloudpickle.dumps(self._make_worker))
        worker.send(self._shared, job)
        self._running[worker.result] = worker

    def _check_idle(self, seconds: float) -> None:
        import ray
        from ray.exceptions import RayError

        now = time.monotonic()
        idle = [worker for worker in self._workers if worker.is_ready and worker.position is None]
        asked = {worker.ask(): worker for worker in idle if now - worker.heard >= seconds}
        answered = ray.wait([*asked], num_returns=len(asked), timeout=_ANSWER)[0] if asked else []
        for ref, worker in asked.items():
            try:
                if ref not in answered:
                    raise RayError
                ray.get(ref)
                worker.heard = now
            except RayError:
                self._dismiss(worker)

    def _dismiss(self, worker: PoolWorker) -> None:
        assert isinstance(worker, _Actor)
        self._running.pop(worker.result, None)
        super()._dismiss(worker)

    def _wait_for(self, seconds: float | None) -> list[_Actor]:
        import ray

        starting = {worker.described: worker for worker in self._workers if not worker.is_ready}
        refs = [*starting, *self._running]
        if len(refs) > _MANY:
            time.sleep(_PAUSE * len(refs))
        # Nothing is fetched yet: a result that waits for the driver stays on its node. With many workers, most often
        # some have ended, and one look finds all of them.
        ended, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
        if not ended:
            patience = _LOOK_EVERY if seconds is None else min(seconds, _LOOK_EVERY)
            ended, _ = ray.wait(refs, num_returns=1, timeout=patience, fetch_local=False)
        for ref in ended:
            if ref in starting:
                self._accept(starting[ref])
        self._tell()
        return [self._running.pop(ref) for ref in ended if ref in self._running]

    def _accept(self, worker: _Actor) -> None:
        """Takes a worker that has started; one that died on the way is replaced."""
        import ray
        from ray.exceptions import RayActorError, RayError

        try:
            worker.node, theirs = ray.get(worker.described)
        except RayError as error:
            self._failed_starts += 1
            is_gone = isinstance(error, RayActorError) and "creation task" not in str(error)
            if not is_gone or self._failed_starts > MAX_ATTEMPTS * self._wanted():
                raise VmcError(f"Ray cannot start a worker: {error}", _SAME_SOFTWARE) from None
            self._dismiss(worker)
            return
        if not is_local(self.settings):
            _check_versions(worker.node, theirs)
        worker.is_ready, self._failed_starts = True, 0

    def _tell(self) -> None:
        """Tells Ray's metrics how it goes, and the user if workers are missing."""
        import ray

        now = time.monotonic()
        if now - self._reported < _REPORT_EVERY:
            return
        self._reported = now
        alive = sum(worker.is_ready for worker in self._workers)
        _metrics().set(alive, self.statistics)
        if alive >= len(self._workers):
            self._complete = now
        elif now - max(self._complete, self._told) > _PATIENCE:
            self._told = now if not alive else float("inf")  # where some work, once is enough
            free = {name: number for name, number in ray.available_resources().items() if name in ("CPU", "GPU")}
            gpus = self.settings.gpus_per_worker
            need = f"{gpus:g} GPU" if gpus else "1 CPU"
            print(
                f"{alive} of {len(self._workers)} workers have started. One needs {need}; the cluster has "
                f"{free or 'none'} free (another command may hold them: `ray status`).",
                file=sys.stderr,
                flush=True,
            )


class _Actor:
    """The driver's end of one actor."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self.described = self.ask()
        self._known: set[Any] = set()
        self.result: Any = None  # the reference to the outcome of its job
        self.node = "?"
        self.is_ready = False
        self.heard = time.monotonic()
        self.position: int | None = None
        self.started = 0.0

    @property
    def name(self) -> str:
        return f"worker {self._actor._actor_id.hex()[:8]} on node {self.node}"

    def send(self, make_worker: Any, job: Any) -> None:
        if make_worker not in self._known:
            self._known.add(make_worker)
            self._actor.prepare.remote(make_worker.binary(), [make_worker])
        self.result = self._actor.run.remote((make_worker.binary(), job))

    def forget(self, make_worker: Any) -> None:
        if make_worker in self._known:
            self._known.remove(make_worker)
            self._actor.forget.remote(make_worker.binary())

    def ask(self) -> Any:
        """The reference to an answer, which fails if the actor is dead."""
        return self._actor.describe.remote()

    def finish(self) -> Done | Failed:
        import ray
        from ray.exceptions import RayActorError, RayError

        self.heard = time.monotonic()
        result, self.result = self.result, None
        try:
            return ray.get(result)  # type: ignore[no-any-return]
        except RayActorError:
            return Failed("The worker or its node died in the middle of a job.", worker_died=True)
        except RayError as error:
            return Failed(str(error))

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)


# The actors of this process, by the GPUs that each has.
_ACTORS: dict[float, list[_Actor]] = {}


def _start_actor(settings: ExecutorSettings, serving: type | None = None, **more: Any) -> Any:
    import ray

    variables = {**WORKER_ENVIRONMENT, **inherited_variables()}
    if is_local(settings):
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    options: dict[str, Any] = {"max_restarts": 0, "runtime_env": {"env_vars": variables}}
    # Those with a GPU take no processor: all of them may be held by those that step environments.
    gpus = settings.gpus_per_worker
    options |= {"num_gpus": gpus, "num_cpus": 0 if gpus else 1}
    make_actor: Any = ray.remote(**options | more)(serving or _Serving)
    return make_actor.remote()


class _Serving:
    """The actor. It keeps a worker for each executor that uses it."""

    def __init__(self) -> None:
        self._runners: dict[bytes, JobRunner] = {}

    def describe(self) -> tuple[str, dict[str, str]]:
        """The node's name, and all that a result depends on."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return f"{socket.gethostname()} ({node[:8]})", _software()

    def prepare(self, key: bytes, make_worker: list[Any]) -> None:
        # In a list, for Ray to leave the reference as it is: what fails now would have no job to tell it.
        self._runners[key] = JobRunner(partial(_make, make_worker[0]))

    def run(self, what: tuple[bytes, Any]) -> Done | Failed:
        key, job = what
        return self._runners[key].run(job)

    def forget(self, key: bytes) -> None:
        self._runners.pop(key).close()


def _make(make_worker: Any) -> Worker[Any, Any]:
    import ray

    return ray.cloudpickle.loads(ray.get(make_worker))()  # type: ignore[no-any-return]


def connect(settings: ExecutorSettings) -> Any:
    """Joins the cluster, or starts Ray here; returns the module `ray`. A Ray that this process uses already is kept.

    Raises:
        VmcError: there is no cluster at the address, or one that refuses us.
    """
    if is_local(settings) and "ray" not in sys.modules:
        # Ray listens on all of the machine's addresses, and whoever reaches it can run code: ask them for a token.
        # Ray reads these when it is imported.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.exceptions import RayError

    if ray.is_initialized():
        return ray
    address = settings.address or LOCAL
    _check_reachable(address)
    options: dict[str, Any] = {"address": address, "logging_level": "CRITICAL", "log_to_driver": False}
    if is_local(settings):
        options["num_cpus"] = settings.workers or available_cores()
    else:
        options["runtime_env"] = {"py_modules": [*map(str, own_code())]}
    try:
        dashboard = ray.init(**options).dashboard_url
    except (RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise VmcError(
            f"Ray cannot use the cluster {address!r}: {error}",
            "Give --address local, auto (after `ray start --head`), HOST:6379 or ray://HOST:10001. If the cluster "
            "wants a token: set RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from its first machine.",
        ) from None
    if dashboard:
        print(f"Ray's dashboard: http://{dashboard}", file=sys.stderr, flush=True)
    return ray


def _check_reachable(address: str) -> None:
    """Raises a `VmcError` where nobody answers at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise VmcError(
            f"Nobody answers at {address}: {error}.", "Is Ray started there (`ray start --head`), and the port open?"
        ) from None


def is_local(settings: ExecutorSettings) -> bool:
    """Returns whether Ray is started by us, on this machine."""
    return settings.address in (None, LOCAL)


def own_code() -> list[Path]:
    """What workers elsewhere get from here: `vmc` of a checkout, and the imported modules of the working folder.

    An installed `vmc` is not sent: the workers must have the same one.
    """
    installed = [Path(folder) for folder in sys.path if Path(folder).name in ("site-packages", "dist-packages")]
    # The working folder may hold Python itself, or a virtual environment.
    python = [Path(folder).resolve() for folder in (sys.prefix, sys.base_prefix)]
    here = Path.cwd()

    def is_own(name: str, place: Path) -> bool:
        if any(place.is_relative_to(folder) for folder in installed):
            return False
        if place == _PACKAGE:
            return True
        is_code = place.is_dir() or (place.is_file() and place.suffix == ".py")
        is_python = name in sys.stdlib_module_names or any(place.is_relative_to(folder) for folder in python)
        return is_code and not is_python and name != "__main__" and place.is_relative_to(here)

    top_level = {name: module for name, module in list(sys.modules.items()) if "." not in name}
    places = {name: place for name, module in top_level.items() if (place := _place(module))}
    return sorted(place for name, place in places.items() if is_own(name, place))


def _place(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    if not file:
        return None
    path = Path(file).resolve()
    return path.parent if path.name == "__init__.py" else path


@cache
def _software() -> dict[str, str]:
    """All that a result depends on: versions, and a hash of vmc's own code."""
    hasher = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        hasher.update(path.relative_to(_PACKAGE).as_posix().encode() + path.read_bytes())
    return {**versions(), "code of vmc": hasher.hexdigest()[:12]}


_SAME_SOFTWARE = "Install the same software on every node: a score must not depend on where it was made."


def _check_versions(node: str, theirs: dict[str, str]) -> None:
    mine = _software()
    differing = [name for name in sorted(mine.keys() | theirs.keys()) if mine.get(name) != theirs.get(name)]
    named = [f"{name} {theirs.get(name, 'none')} (here {mine.get(name, 'none')})" for name in differing]
    if not set(differing) <= set(_HARDWARE):
        raise VmcError(f"Node {node} has other versions: {', '.join(named)}.", _SAME_SOFTWARE)
    if named:
        _tell_hardware(node, ", ".join(named))


@cache
def _tell_hardware(node: str, difference: str) -> None:
    print(
        f"Node {node} has another processor: {difference}. The last bits of a score may differ there.",
        file=sys.stderr,
        flush=True,
    )


def _summary(statistics: Statistics, workers: Sequence[_Actor]) -> str:
    rate = f"{statistics.jobs / statistics.seconds:.3g} jobs/s" if statistics.seconds else ""
    ready = [worker.node for worker in workers if worker.is_ready]
    return (
        f"Ray: {statistics.jobs} jobs in {statistics.seconds:.1f} s ({rate}), {statistics.retried} were run again; "
        f"workers: {len(ready)}, nodes: {len(set(ready))}; the driver waited for {statistics.waited:.1f} s."
    )


class _Metrics:
    """What Ray's dashboard and Prometheus show of an executor."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        self._workers = Gauge("vmc_workers", "Workers that live.")
        self._jobs = Counter("vmc_jobs", "Jobs done: episodes, shards or blocks of dreams.")
        self._retried = Counter("vmc_jobs_retried", "Jobs that were run again.")
        self._waited = Counter("vmc_driver_waited_seconds", "Seconds in which the driver waited for workers.")
        self._last = (Statistics(), Statistics())

    def set(self, workers: int, now: Statistics) -> None:
        before = self._last[1] if self._last[0] is now else Statistics()
        self._workers.set(workers)
        for metric, name in ((self._jobs, "jobs"), (self._retried, "retried"), (self._waited, "waited")):
            if (more := getattr(now, name) - getattr(before, name)) > 0:
                metric.inc(more)
        self._last = (now, replace(now))


@cache
def _metrics() -> _Metrics:
    return _Metrics()
