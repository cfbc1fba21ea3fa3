"""Jobs in this process, one after another."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from threadpoolctl import threadpool_limits

from vmc.errors import VmcError
from vmc.executors.contract import Worker, report_failure


class SerialExecutor:
    """An `Executor` without worker processes, for tests and for debugging with `--workers 0`."""

    def __init__(self, make_worker: Callable[[], Worker[Any, Any]]) -> None:
        self._make_worker = make_worker
        self._worker: Worker[Any, Any] | None = None

    def map(self, jobs: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        # One thread, as in a worker process: the number of threads changes the order of BLAS's sums, and so the
        # last bits of a score.
        for position, job in enumerate(jobs):
            with threadpool_limits(1):
                result = self._run(job)
            yield position, result

    def _run(self, job: Any) -> Any:
        failures = 0
        while True:
            try:
                if self._worker is None:
                    self._worker = self._make_worker()
                return self._worker.run(job)
            except VmcError:
                raise
            except Exception:
                failures += 1
                self.close()
                report_failure(failures, "this process", traceback.format_exc())

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None
