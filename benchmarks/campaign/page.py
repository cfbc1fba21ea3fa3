"""The page of `vmc play`: malformed and oversized messages, clients that vanish or read nothing, fifty connections.

After each case a page that behaves must see an episode go on, in the same server, which has said nothing of a fault.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import toy
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from vmc.viewer.messages import MESSAGES

_CONNECTIONS = 50
_SECONDS = 30
# So many bytes are more than one message may have.
_OVERSIZED = 200_000
_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 2**4000, 1e308, -1e-300, float("nan"), float("inf"),
    "", "x" * 1000, "../../etc/passwd", [], {}, [[]], "\u0000",
)  # fmt: skip


def baselines(folder: Path, cases: Sequence[int]) -> None:
    """There is nothing to compare with."""


def case(folder: Path, number: int, seed: int, expected: None) -> list[dict[str, Any]]:
    """Does one thing to a server, then looks whether it serves as before."""
    rng = np.random.default_rng([seed, number, 7])
    name = list(_FAULTS)[number % len(_FAULTS)]
    place = toy.copied(folder / "first", folder / "case")
    with _server(place) as (port, process, said):
        try:
            _FAULTS[name](port, rng)
            seen = _sees_an_episode(port)
        except (OSError, TimeoutError, ConnectionClosed, InvalidStatus) as error:
            seen = f"{type(error).__name__}: {error}"
        alive = process.poll() is None
        threads = psutil.Process(process.pid).num_threads() if alive else 0
    text = said.read_text(encoding="utf-8", errors="replace")
    good = seen is True and alive and "Traceback" not in text and process.returncode == 0
    row = {"page": name, "threads": threads, "verdict": "same" if good else "broken"}
    return [row if good else {**row, "seen": seen, "status": process.returncode, "text": text[-2000:]}]


@contextmanager
def _server(place: Path) -> Iterator[tuple[int, subprocess.Popen[bytes], Path]]:
    said = place / "said"
    with said.open("wb") as file:
        command = [sys.executable, "-m", "vmc", "play", "run", "--no-browser", "--port", str(port := _free_port())]
        process = subprocess.Popen(command, cwd=place, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while b"http://" not in said.read_bytes():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"`vmc play` does not begin:\n{said.read_text(encoding='utf-8')}")
            time.sleep(0.1)
        yield port, process, said
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _connected(port: int) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{port}/play", open_timeout=_SECONDS, close_timeout=1)


def _begin(page: ClientConnection) -> None:
    page.send(json.dumps({"type": "begin", "run": "run"}))


def _sees_an_episode(port: int) -> bool:
    """Whether a page gets five views within the time."""
    until = time.monotonic() + _SECONDS
    while True:  # pages that have gone may not have been noticed yet
        with _connected(port) as page:
            if json.loads(page.recv(_SECONDS))["type"] != "refused":
                _begin(page)
                views = 0
                while views < 5:
                    if isinstance(page.recv(_SECONDS), bytes):
                        page.send('{"type": "ready"}')
                        views += 1
                return True
        if time.monotonic() > until:
            raise TimeoutError("The pages that have gone still take the place of others.")
        time.sleep(0.2)


def _malformed(port: int, rng: np.random.Generator) -> None:
    """Messages of each type with fields of wrong types, bytes, and text that is no JSON, to a page that plays."""
    with _connected(port) as page:
        _begin(page)
        for _ in range(200):
            with suppress(TimeoutError):
                page.recv(0)
            page.send(_bad_message(rng))


def _bad_message(rng: np.random.Generator) -> str | bytes:
    def drawn(values: Sequence[Any]) -> Any:
        return values[int(rng.integers(len(values)))]

    kind = drawn(["fields", "fields", "fields", "bytes", "cut", "deep"])
    name = drawn([*MESSAGES])
    fields = {
        field: drawn(_VALUES) for field in (*MESSAGES[name].__dataclass_fields__, "another") if rng.random() < 0.7
    }
    text = json.dumps({"type": name if rng.random() < 0.9 else drawn(_VALUES), **fields})
    if kind == "bytes":
        return bytes(rng.integers(0, 256, int(rng.integers(0, 500)), dtype=np.uint8))
    if kind == "cut":
        return text[: int(rng.integers(len(text)))]
    return "[" * 20_000 if kind == "deep" else text


def _oversized(port: int, rng: np.random.Generator) -> None:
    """A message of 200 kB: that page is closed."""
    with _connected(port) as page:
        _begin(page)
        with suppress(ConnectionClosed):
            page.send("x" * _OVERSIZED)
            while True:
                page.recv(_SECONDS)


def _vanish(port: int, rng: np.random.Generator) -> None:
    """Twenty pages that play, and are gone without a word, some in the middle of a frame."""
    for number in range(20):
        page = _connected(port)
        with suppress(ConnectionClosed, OSError):  # it may have been refused
            _begin(page)
            time.sleep(float(rng.uniform(0, 0.2)))
            if number % 2:
                page.socket.sendall(b"\x81\xfe\x10\x00ab")  # the head of a frame of 4,096 bytes, and two of them
            page.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no goodbye
            page.socket.shutdown(socket.SHUT_RDWR)


def _read_nothing(port: int, rng: np.random.Generator) -> None:
    """A page that asks all the while and reads nothing."""
    with _connected(port) as page:
        page.socket.settimeout(0.5)
        _begin(page)
        with suppress(OSError, ConnectionClosed):
            for _ in range(20_000):
                page.send('{"type": "ready"}')
        with suppress(OSError):
            page.socket.shutdown(socket.SHUT_RDWR)


def _many(port: int, rng: np.random.Generator) -> None:
    """Fifty connections at once: some play, the others are told."""
    with ExitStack() as stack:
        pages = [stack.enter_context(_connected(port)) for _ in range(_CONNECTIONS)]
        for page in pages:
            first = json.loads(page.recv(_SECONDS))
            if first["type"] not in ("welcome", "refused"):
                raise OSError(f"A page was told {first['type']} first.")
            if first["type"] == "welcome":
                _begin(page)


def _no_websocket(port: int, rng: np.random.Generator) -> None:
    """Fifty sockets that send bytes at random, or nothing, or half a request."""
    with ExitStack() as stack:
        for number in range(_CONNECTIONS):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", port), _SECONDS))
            sent = (rng.bytes(300), b"", b"GET /play HTTP/1.1\r\nHost: loc", b"GET " + b"x" * 100_000)[number % 4]
            with suppress(OSError):
                raw.sendall(sent)


_FAULTS: dict[str, Callable[[int, np.random.Generator], None]] = {
    "malformed messages": _malformed,
    "an oversized message": _oversized,
    "clients that vanish": _vanish,
    "a client that reads nothing": _read_nothing,
    "fifty pages at once": _many,
    "no requests at all": _no_websocket,
}
