"""A server of `vmc play` and a browser for the scripts that measure and picture it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@contextmanager
def played(*arguments: str) -> Iterator[tuple[str, Any]]:
    """Yields the address of `vmc play ARGUMENTS`, and a browser (Debian's Chromium)."""
    command = [sys.executable, "-m", "vmc", "play", *arguments, "--no-browser"]
    environment = os.environ | {"SDL_VIDEODRIVER": "dummy"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    assert server.stdout is not None
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            yield server.stdout.readline().split()[0], browser
            browser.close()
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def wait_for(page: Any, condition: str) -> None:
    """Until that holds on the page, whose security policy forbids Playwright's own way to wait."""
    while not page.evaluate(f"Boolean({condition})"):
        page.wait_for_timeout(50)
