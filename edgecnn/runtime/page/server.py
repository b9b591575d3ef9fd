"""The server of the live page, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgecnn.core.frame import Frame
from edgecnn.core.resources import plot_asset
from edgecnn.core.usage import Result
from edgecnn.errors import missing_extra
from edgecnn.runtime.listen import listen, shown_url
from edgecnn.runtime.metrics import Metrics
from edgecnn.runtime.page.access import Guard, choose_token
from edgecnn.runtime.page.history import History
from edgecnn.runtime.page.pictures import WIDTHS, Pictures
from edgecnn.runtime.readings import Readings

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_MOST_FPS = 12.0
# A browser that asked for a newer picture hears after this that there is none.
_LONGEST_WAIT_S = 1.0
_LOOK_S = 0.01
_SAMPLE_S = 1.0
_CONNECTIONS = 64
_END_S = 1
_ASSETS = {
    "page.css": "text/css",
    "page.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "uPlot.min.css": "text/css",
    "uPlot.iife.min.js": "text/javascript",
}


class PageSink:
    """Serves a page with a tile for each source. A picture is drawn and encoded only when a browser asks for it.

    Args:
        host: To listen at.
        port: 0 for any that is free.
        metrics: Of the run.
        title: What runs.
        token: That a browser must have; None makes one, or takes none where this machine alone can ask.
        readings: Of the board.
        say: Gets a sentence where the server fails.

    Attributes:
        url: Where a browser finds it, with the token if there is one.

    Raises:
        EnvironmentMissing: starlette or uvicorn is not installed.
        InputError: The address is taken or not this machine's, or the token is too short.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        *,
        title: str = "",
        token: str | None = None,
        readings: Readings | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        for package in ("starlette", "uvicorn"):
            if find_spec(package) is None:
                raise missing_extra(package, "serve")
        self._token = choose_token(host, token)
        self._listening = listen(host, port, "--page")
        self.port: int = self._listening.getsockname()[1]
        self.url = shown_url(self._listening) + (f"?token={self._token}" if self._token else "")
        self._host, self._title, self._say = host, title, say
        self._run = secrets.token_hex(4)
        self._pictures = Pictures()
        self._history = History(metrics, readings)
        self._server: Any = None
        self._ended = threading.Event()
        # The packages are imported there too, beside the run's start.
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)
        self._thread.start()

    def write(self, frame: Frame, result: Result, age_ns: int) -> None:
        """See ``Sink.write``."""
        self._pictures.put(frame, result, age_ns)

    def close(self) -> None:
        """See ``Sink.close``."""
        self._ended.set()
        if self._server is not None:
            self._server.should_exit = True
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        import uvicorn

        logger = logging.getLogger("uvicorn")  # its words are not for who started the run
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        config = uvicorn.Config(
            Guard(self._app(), self._host, self.port, self._token),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_END_S,
        )
        self._server = uvicorn.Server(config)
        if not self._ended.is_set():
            try:
                asyncio.run(self._serve_and_sample(self._server))
            except Exception as error:  # the run goes on without its page
                self._say(f"--page: the server ended: {type(error).__name__}: {error}")

    async def _serve_and_sample(self, server: Any) -> None:
        sampling = asyncio.create_task(self._sample())
        await server.serve(sockets=[self._listening])
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling

    async def _sample(self) -> None:
        while True:
            await asyncio.to_thread(self._history.sample)
            await asyncio.sleep(_SAMPLE_S)

    def _app(self) -> Any:
        from starlette.applications import Starlette
        from starlette.routing import Route

        routes = [
            Route("/", self._page),
            Route("/status", self._status),
            Route("/picture", self._picture),
            Route("/assets/{name}", self._asset),
        ]
        return Starlette(routes=routes)

    async def _page(self, _: Request) -> Response:
        from starlette.responses import Response

        return Response(_own_asset("page.html"), media_type="text/html", headers={"cache-control": "no-store"})

    async def _asset(self, request: Request) -> Response:
        from starlette.responses import Response

        # A name from the table, never a path.
        name = request.path_params["name"]
        if name not in _ASSETS:
            return Response("there is no such file", 404, media_type="text/plain")
        text = plot_asset(name) if name.startswith("uPlot") else _own_asset(name)
        return Response(text, media_type=_ASSETS[name], headers={"cache-control": "no-cache"})

    async def _status(self, request: Request) -> Response:
        from starlette.responses import Response

        # A number of another run says nothing about this one.
        same = request.query_params.get("run") == self._run
        after = _whole(request.query_params.get("after")) if same else 0
        document = {"run": self._run, "title": self._title, **self._history.document(after)}
        text = json.dumps(document, allow_nan=False, separators=(",", ":"))
        return Response(text, media_type="application/json", headers={"cache-control": "no-store"})

    async def _picture(self, request: Request) -> Response:
        """One newer than the browser has: it asks again when it has shown it, so a slow one gets fewer."""
        from starlette.responses import Response

        source = request.query_params.get("source", "")
        after = _whole(request.query_params.get("after"))
        wanted = _whole(request.query_params.get("width"))
        width = next((width for width in WIDTHS if width >= wanted), WIDTHS[-1])
        headers = {"cache-control": "no-store", "x-run": self._run}
        end = time.monotonic() + _LONGEST_WAIT_S
        while True:
            last = self._pictures.last(source, width)
            newest = self._pictures.number(source)
            due = last is None or time.monotonic() - last.taken_s >= 1 / _MOST_FPS
            if newest and (last is None or last.number != newest) and due:
                last = await asyncio.to_thread(self._pictures.encode, source, width)
            if last is not None and last.number != after:
                headers["x-number"] = str(last.number)
                return Response(last.jpeg, media_type="image/jpeg", headers=headers)
            if time.monotonic() >= end or self._ended.is_set():
                return Response(status_code=204, headers=headers)
            await asyncio.sleep(_LOOK_S)


def _own_asset(name: str) -> str:
    return (files("edgecnn.runtime.page") / "assets" / name).read_text(encoding="utf-8")


def _whole(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else 0
