"""Starting ViZDoom's engine so that it leaves nothing behind: no process, no files.

The engine is a process of its own, and its library only ends it when it is closed in good order. A worker that is
killed would leave it waiting for ever, with 10 MB of shared memory, and every start leaves files in the working folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from vmc.errors import VmcError

# The engine runs in the script's own folder. Beside it a watcher waits for the end of the engine or of the process that
# started it ($PPID), whatever ended that; then it ends the engine ($$, by exec) and removes what is left.
_SCRIPT = """#!/bin/sh
folder=${{0%/*}}
cd "$folder" || exit 1
for argument; do
    [ "$previous" = +viz_instance_id ] && instance=$argument
    previous=$argument
done
(
    trap '' HUP TERM
    while kill -0 $PPID && kill -0 $$; do sleep 1; done
    kill -0 $PPID || kill -9 $$
    rm -r "$folder"
    [ -n "$instance" ] && rm -f /dev/shm/ViZDoom*"$instance"
) </dev/null >/dev/null 2>&1 &
exec '{engine}' "$@"
"""


def launcher(engine: Path) -> Path:
    """A program that runs the engine in a new folder and cleans up after it (POSIX only: it is a shell script).

    Raises:
        VmcError: nothing can be run from the folder for temporary files.
    """
    script = Path(tempfile.mkdtemp(prefix="vmc-doom-"), "engine")
    script.write_text(_SCRIPT.format(engine=str(engine).replace("'", "'\\''")), encoding="utf-8")
    script.chmod(0o700)
    # ViZDoom's library crashes the interpreter when the program that it starts ends at once.
    if not os.access(script, os.X_OK):
        shutil.rmtree(script.parent)
        raise VmcError(f"{script.parent.parent} does not allow programs to be run.", "Set TMPDIR to one that does.")
    return script
