"""`vmc` and `python -m vmc`."""

from __future__ import annotations

import errno
import os
import sys
import threading
from contextlib import suppress
from io import TextIOWrapper

from vmc.cli import main

# For threads of the environment's that are about to end.
_SECONDS = 5.0


def command() -> None:
    """Runs the command line, and ends the process though an environment may have left a thread running."""
    status: int | str | None = 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a locale may lack a sign, such as the one in 894 ± 61
            stream.reconfigure(errors="replace")
    try:
        main(prog_name="vmc")
    except SystemExit as ended:
        status = ended.code
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"Error: What vmc prints cannot be written: {error.strerror}. Finished work is safe.", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python itself would try once more
        status = 1
    left = [thread for thread in threading.enumerate() if _holds_up(thread)]
    for thread in left:
        thread.join(_SECONDS)
    if not any(thread.is_alive() for thread in left):
        sys.exit(status)
    names = ", ".join(thread.name for thread in left if thread.is_alive())
    print(f"A thread is still running ({names}); vmc ends without it.", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status if isinstance(status, int) else 1)


def _holds_up(thread: threading.Thread) -> bool:
    """Whether the interpreter would wait for it; the threads of a pool end by themselves."""
    return thread is not threading.main_thread() and not thread.daemon and "ThreadPoolExecutor" not in thread.name


if __name__ == "__main__":
    command()
