"""The entry point, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def test_a_locale_without_our_signs_shows_others_in_their_place() -> None:
    """The table has scores such as 869 ± 98."""
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "vmc", "recipes"], env=ascii_only, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"869 ? 98" in done.stdout
