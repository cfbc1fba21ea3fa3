"""Starts ViZDoom's engine in such a way that it leaves no process and no files behind.

The engine is a separate process, and ViZDoom's library ends it only at a regular close. Without this module, the engine
of a killed worker would wait for ever with 10 MB of shared memory, and every start would leave files in the working
folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from vmc.errors import VmcError

# The engine runs in the script's own folder. A watcher waits for the end of the engine ($$, by exec) or of the process
# that started it ($PPID). Then the watcher ends the engine and removes the folder and the shared memory.
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
    """Writes a shell script (POSIX only) that runs the engine in a new folder and cleans up after it; returns its path.

    Raises:
        VmcError: the folder for temporary files does not allow programs to be run.
    """
    script = Path(tempfile.mkdtemp(prefix="vmc-doom-"), "engine")
    script.write_text(_SCRIPT.format(engine=str(engine).replace("'", "'\\''")), encoding="utf-8")
    script.chmod(0o700)
    # ViZDoom's library crashes the interpreter if the program that it starts ends at once.
    if not os.access(script, os.X_OK):
        shutil.rmtree(script.parent)
        raise VmcError(f"{script.parent.parent} does not allow programs to be run.", "Set TMPDIR to one that does.")
    return script
