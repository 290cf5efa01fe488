"""Who may talk to the viewer's web server, and what its pages may do: checked before trame sees a request.

A page of another site that is open in the same browser reaches a loopback port too: by a link, a form, a web socket, or
by a name of its own that it lets point to this computer. It gets nothing. What the viewer shows comes from files, which
may be of anybody's making: should a part of one reach the page as code, it can still not talk to another computer.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web

SESSION = "ws://USE_HOST/ws"
"""The one address that a page may ask its data from, in the client's words for the server that it came from."""

IDLE_S = 30.0
"""A connection without a request, or a web socket without the key, is closed after so long."""

_EVERYWHERE = ("0.0.0.0", "::", "")
_CHATTY = ("aiohttp.server", "aiohttp.web", "aiohttp.access", "asyncio", "wslink", "trame_server", "trame")
_INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def policy(index: bytes) -> str:
    """Content-Security-Policy for the client whose page is ``index``: only its own scripts, only its own server.

    Vue compiles its templates in the browser, which needs ``unsafe-eval``; none of them is made of names or values.
    """
    digests = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE.findall(index))
    scripts = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self' 'unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def host_of(authority: str) -> str:
    """The host of ``host:port``, in small letters and without brackets; empty where it is none."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def known_host(authority: str, listening: str) -> bool:
    """Whether the Host header ``authority`` is a name of the computer that listens on the address ``listening``.

    Numbers and localhost are nobody's to redirect; other names must be the given one, or this computer's own where it
    listens on all its addresses.
    """
    host = host_of(authority)
    if host in ("localhost", listening.lower()):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        own = {socket.gethostname().lower(), socket.getfqdn().lower()} if listening in _EVERYWHERE else set()
        return bool(host) and host in own
    return True


def refusal(request: web.Request, listening: str) -> str | None:
    """Why a request is not answered, in a sentence; None where it is."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or not known_host(hosts[0], listening):
        return "this viewer is not called by that name: use the address that it printed"
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != hosts[0].lower():
        return "another site asks: open the address that the viewer printed"
    if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.headers.get("Sec-Fetch-Mode") != "navigate":
        return "another site asks: open the address that the viewer printed"
    if request.method not in ("GET", "HEAD"):
        return "the viewer takes no data that way"
    query = request.query
    if set(query) - {"sessionURL", "secret"} or any(url != SESSION for url in query.getall("sessionURL", [])):
        return "the address names another server than this viewer: open the one that it printed"
    return None


class Guard:
    """Checks requests to a web server of wslink, sets the headers of its answers, and closes what is idle."""

    def __init__(self, listening: str, www: str | Path) -> None:
        self._listening = listening
        self._headers = {
            "Content-Security-Policy": policy((Path(www) / "index.html").read_bytes()),
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",  # the address holds the key
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }
        self._server: Any = None
        self._busy: set[Any] = set()  # connections that a request is answered on
        self._since: dict[Any, float] = {}  # since when others are idle
        self._strangers: dict[str, float] = {}  # since when clients are there without the key

    def install(self, server: Any) -> None:
        """Put it before everything else that ``server``, a web server of wslink, answers."""
        self._server = server

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            if (reason := refusal(request, self._listening)) is not None:
                return web.Response(status=403, text=f"refused: {reason}\n")
            self._busy.add(request.protocol)
            try:
                return await handler(request)
            except ConnectionError:  # the other side is gone
                return web.Response(status=499)
            finally:
                self._busy.discard(request.protocol)
                self._since[request.protocol] = time.monotonic()

        async def headed(request: web.Request, response: web.StreamResponse) -> None:
            response.headers.update(self._headers)

        server.app.middlewares.insert(0, check)
        server.app.on_response_prepare.append(headed)

    async def sweep(self, idle_s: float = IDLE_S) -> None:
        """Close idle connections for ever, until cancelled."""
        while True:
            await asyncio.sleep(idle_s / 4)
            self.close_idle(time.monotonic() - idle_s)
            await self.close_strangers(time.monotonic() - idle_s)

    def close_idle(self, before: float) -> None:
        """Close connections that no request has come on since the time ``before``."""
        runner = getattr(self._server, "runner", None)
        connections = [] if runner is None or runner.server is None else runner.server.connections
        self._since = {c: since for c, since in self._since.items() if c in connections}
        for connection in connections:
            since = self._since.setdefault(connection, time.monotonic())
            if connection not in self._busy and since < before:
                connection.force_close()

    async def close_strangers(self, before: float) -> None:
        """Close web sockets whose clients have not shown the key since the time ``before``."""
        for handler in getattr(self._server, "_ws_handlers", ()):
            strangers = {c: s for c, s in handler.connections.items() if not handler.isClientAuthenticated(c)}
            self._strangers = {c: self._strangers.get(c, time.monotonic()) for c in strangers}
            for client, sock in strangers.items():
                if self._strangers[client] < before:
                    await sock.close(code=WSCloseCode.POLICY_VIOLATION)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries log of malformed requests and closed sockets, with tracebacks, off the terminal."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
