"""The web server of `vmc play`: one page, and a WebSocket for each tab."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from vmc.envs import preprocessing_of
from vmc.errors import VmcError
from vmc.extras import require
from vmc.runs import RESULTS
from vmc.stages.collect import check_folder
from vmc.stages.settings import CollectSettings
from vmc.viewer.collecting import Collector, visible_env
from vmc.viewer.messages import parse
from vmc.viewer.player import Player
from vmc.viewer.runs import playable_runs, require_playable, thumbnails
from vmc.viewer.session import Session, Tell, event

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8765
# Each steps its own world; on two cores a few run at full speed, and more at less.
MAX_PAGES = 8
_STATIC = Path(__file__).parent / "static"
# Ports that are tried where none was asked for.
_PORTS = 10
_CLOSE_SECONDS = 2
_ROOM_SECONDS = 0.5  # a page that is reloaded comes before the old one has ended
_LOOK_SECONDS = 0.02
# Of what a page sends, in bytes.
_MAX_MESSAGE = 65_536
_MOST_UNREAD = 256
# After these, too, the recordings are removed.
_ENDING = (signal.SIGTERM, signal.SIGHUP)
# The page loads nothing from elsewhere, and nothing else may use it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ws: wss:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

MakeSession = Callable[[Tell, Path], Session]


@dataclass
class Site:
    """What a server shows.

    Attributes:
        welcome: what a page is told first.
        make_session: for a new page.
        runs: the folders of the runs that are offered, by name.
        finished: set when there is nothing left to do: the server then ends.
    """

    welcome: dict[str, Any]
    make_session: MakeSession
    runs: Mapping[str, Path] = field(default_factory=dict)
    finished: threading.Event = field(default_factory=threading.Event)


def play_site(run: Path | None, data: Path | None) -> Site:
    """A site on which runs can be played.

    Args:
        run: the one that is played; None offers all in `results/`.
        data: where episodes are saved; None: `data/<env>-human`.

    Raises:
        VmcError: a run without V and M, or none that has them.
    """
    runs = [require_playable(run)] if run else playable_runs(RESULTS)
    if not runs:
        raise VmcError(f"There is no run with V and M in {RESULTS}.", "Give a RUN, or train one with `vmc run`.")
    offered = {run.path.as_posix(): run.path for run in runs}
    listed = [
        {"name": name, "env": run.env, "score": str(run.score or "")} for name, run in zip(offered, runs, strict=True)
    ]
    return Site({"runs": listed}, partial(Player, offered, data), offered)


def collecting_site(settings: CollectSettings, data: Path) -> Site:
    """A site on which a person drives the missing episodes of a data folder; it stops when none is missing.

    Raises:
        VmcError: an environment that a person cannot see; a folder of another environment, or with other limits.
    """
    env = visible_env(settings.env)
    env.close()
    check_folder(settings, data, preprocessing_of(env))
    finished = threading.Event()
    make_session = partial(Collector, settings, data, finished.set)
    return Site({"collect": settings.env}, make_session, finished=finished)


def serve(site: Site, host: str, port: int | None, browser: bool, tell: Callable[[str], None]) -> None:
    """Serves the site until it is stopped or interrupted.

    Args:
        port: None takes the first free one from `DEFAULT_PORT` on.
        browser: whether to open the page.
        tell: gets a line with the address.

    Raises:
        VmcError: the extra `play` is not installed; the host or the port cannot be used.
    """
    require("play")
    import uvicorn

    torch.set_num_threads(1)  # pages step side by side
    listener = _listen(host, port)
    shown = "localhost" if host == LOOPBACK else f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="vmc-play-") as folder:
        app = make_app(site, Path(folder), host)
        config = uvicorn.Config(
            app,
            log_level="warning",
            ws="websockets-sansio",
            ws_max_size=_MAX_MESSAGE,
            ws_per_message_deflate=False,  # pictures are small or compressed already
            timeout_graceful_shutdown=2 * _CLOSE_SECONDS,  # pages end by themselves before
        )
        server = uvicorn.Server(config)

        def stop() -> None:
            site.finished.wait()
            server.should_exit = True

        threading.Thread(target=stop, daemon=True).start()
        for number in _ENDING:
            signal.signal(number, _end)
        tell(f"{address} (Ctrl-C ends it)")
        if browser:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])


def make_app(site: Site, videos: Path, host: str) -> Any:
    """The Starlette application.

    Args:
        videos: the folder for recordings.
        host: the one that is served, by which the server may be addressed.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.staticfiles import StaticFiles

    pages = _Pages(site, videos)

    async def index(request: Request) -> Response:
        return FileResponse(_STATIC / "index.html", headers=_HEADERS)

    async def starts(request: Request) -> Response:
        path = site.runs.get(request.query_params.get("run", ""))
        if path is None:
            return JSONResponse({"error": "There is no such run."}, 404)
        try:
            return Response(await asyncio.to_thread(thumbnails, path), media_type="image/png", headers=_HEADERS)
        except VmcError as error:
            return JSONResponse({"error": str(error)}, 404)

    routes = [
        Route("/", index),
        Route("/starts.png", starts),
        WebSocketRoute("/play", pages.serve),
        Mount("/videos", StaticFiles(directory=videos)),
        Mount("/", StaticFiles(directory=_STATIC)),
    ]
    return Starlette(routes=routes, middleware=[Middleware(_OwnNames, host=host)])


class _Pages:
    """The pages that are open."""

    def __init__(self, site: Site, videos: Path) -> None:
        self._site, self._videos = site, videos
        self._open = 0

    async def serve(self, websocket: Any) -> None:
        """Talks with one page, from its opening to its end."""
        if not _is_same_origin(websocket.headers):
            await websocket.close(1008)
            return
        await websocket.accept()
        if not await _soon(lambda: self._open < MAX_PAGES, _ROOM_SECONDS):
            refusal = f"{MAX_PAGES} pages are open. Close one, and reload this one."
            await websocket.send_text(event("refused", message=refusal))
            await websocket.close(1013)
            return
        self._open += 1
        try:
            await self._talk(websocket)
        finally:
            self._open -= 1

    async def _talk(self, websocket: Any) -> None:
        loop, outbox = asyncio.get_running_loop(), asyncio.Queue[str | bytes]()

        def tell(content: str | bytes) -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(outbox.put_nowait, content)

        session = self._site.make_session(tell, self._videos)
        # No daemon: Python would end while it works in a library, which then aborts the process.
        thread = threading.Thread(target=session.run, name="page")
        thread.start()
        tell(event("welcome", **self._site.welcome))
        sender = asyncio.create_task(_send_all(websocket, outbox))
        try:
            await _obey_all(websocket, session, tell, outbox)
        finally:
            session.close()
            sender.cancel()
            await _soon(lambda: not thread.is_alive(), _CLOSE_SECONDS)


async def _soon(holds: Callable[[], bool], seconds: float) -> bool:
    """Waits until something holds, but no longer than that; returns whether it does."""
    until = asyncio.get_running_loop().time() + seconds
    while not (found := holds()) and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(_LOOK_SECONDS)
    return found


async def _send_all(websocket: Any, outbox: asyncio.Queue[str | bytes]) -> None:
    from starlette.websockets import WebSocketDisconnect

    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the page is gone
        while True:
            content = await outbox.get()
            if isinstance(content, str):
                await websocket.send_text(content)
            else:
                await websocket.send_bytes(content)


async def _obey_all(websocket: Any, session: Session, tell: Tell, outbox: asyncio.Queue[str | bytes]) -> None:
    """Passes the page's messages on until it is closed; a bad one is answered. One that reads nothing is left."""
    while (message := await websocket.receive())["type"] != "websocket.disconnect":
        if outbox.qsize() > _MOST_UNREAD:
            return
        try:
            session.obey(parse(message.get("text") or ""))
        except VmcError as error:
            tell(event("error", message=str(error)))


def _is_same_origin(headers: Mapping[str, str]) -> bool:
    """Whether the page that opens a WebSocket is this server's; other programs than browsers name no origin."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


class _OwnNames:
    """Refuses requests to other names than this machine's: a page elsewhere could give one of its own this address."""

    def __init__(self, app: Any, host: str) -> None:
        self._app = app
        self._names = {"localhost", host, socket.gethostname(), socket.getfqdn()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        from starlette.datastructures import Headers
        from starlette.responses import PlainTextResponse
        from starlette.websockets import WebSocketClose

        if scope["type"] == "lifespan" or self._is_own(Headers(scope=scope).get("host", "")):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008)(scope, receive, send)
        else:
            await PlainTextResponse("This server has another name.", 400)(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        name = urlsplit(f"//{host}").hostname or ""
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True  # no name at all


def _end(number: int, frame: Any) -> None:
    sys.exit(128 + number)


def _listen(host: str, port: int | None) -> socket.socket:
    ports = range(DEFAULT_PORT, DEFAULT_PORT + _PORTS) if port is None else [port]
    for number in ports:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, number), family=family, backlog=64)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port is not None:
                raise VmcError(
                    f"{host}:{number} cannot be used: {error.strerror}.", "Give another --port or --host."
                ) from None
    raise VmcError(f"The ports {ports[0]} to {ports[-1]} are in use.", "Give another --port.")
