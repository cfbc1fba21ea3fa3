"""A real server in a process of its own, and a client that speaks its messages."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import connect


@contextmanager
def served(*arguments: str, ends: int | None = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Yields the address that `vmc ARGUMENTS --no-browser` prints, and its process.

    Args:
        ends: with this status; None does not check it.
    """
    command = [sys.executable, "-m", "vmc", *arguments, "--no-browser"]
    environment = os.environ | {"SDL_VIDEODRIVER": "dummy"}
    root = Path(__file__).parents[2]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environment)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("http://localhost:"), line
        yield line.split()[0], process
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(30)
        process.stdout.close()
        assert ends in (None, status)


class Page:
    """What a tab does, without a browser.

    Args:
        send_text: sends a message.
        next_content: waits for what is told next.
    """

    def __init__(self, send_text: Callable[[str], Any], next_content: Callable[[], str | bytes]) -> None:
        self.send_text, self._next_content = send_text, next_content

    def send(self, kind: str, **fields: Any) -> None:
        self.send_text(json.dumps({"type": kind, **fields}))

    def receive(self) -> dict[str, Any]:
        """An event, or a view with its sections as `parts`."""
        content = self._next_content()
        if isinstance(content, str):
            return dict(json.loads(content))
        view = decode(content)
        self.send("ready")
        return view

    def until(self, found: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first message of which that holds."""
        while not found(message := self.receive()):
            pass
        return message

    def event(self, kind: str) -> dict[str, Any]:
        return self.until(lambda message: message["type"] == kind)

    def view(self, **expected: Any) -> dict[str, Any]:
        return self.until(lambda message: message["type"] == "view" and expected.items() <= message.items())


def decode(content: bytes) -> dict[str, Any]:
    """A view's header, with its sections' bytes by name as `parts`."""
    (length,) = struct.unpack_from("<I", content)
    view = dict(json.loads(content[4 : 4 + length]))
    first, view["parts"] = 4 + length, {}
    for section in view["sections"]:
        view["parts"][section["name"]] = content[first : first + section["bytes"]]
        first += section["bytes"]
    assert first == len(content)
    return view


def past(step: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a message is a view of that step or a later one: a page that is slow misses some."""
    return lambda message: message["type"] == "view" and message["step"] >= step


@contextmanager
def opened(address: str, **options: Any) -> Iterator[Page]:
    """A page that has been welcomed."""
    with connect(address.replace("http", "ws") + "/play", **options) as socket:
        page = Page(socket.send, lambda: socket.recv(timeout=60))
        assert page.receive()["type"] == "welcome"
        yield page
