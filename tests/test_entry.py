"""The entry point, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


def test_a_locale_without_our_signs_shows_others_in_their_place() -> None:
    """The table has scores such as 894 ± 61."""
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "vmc", "recipes"], env=ascii_only, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(rb"\d+ \? \d+ ", done.stdout)


def test_a_full_disk_under_the_output_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vmc", "recipes"], stdout=full, stderr=subprocess.PIPE, timeout=120, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"Error: What vmc prints cannot be written: No space left on device. Finished work is safe.\n"
