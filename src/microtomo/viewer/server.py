"""Runs the viewer's web server: on loopback unless asked, for those who have its address with the key in it."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from microtomo.errors import MicrotomoError
from microtomo.study import Study

LOOPBACK = "127.0.0.1"

_GOODBYE_S = 2.0  # for clients to answer that the viewer ends


def import_trame() -> Any:
    """The module ``trame.app``. Raises MicrotomoError where the extra is not installed."""
    try:
        import trame.app
        import trame.ui.html
    except ImportError:
        raise MicrotomoError('the browser viewer needs trame: pip install "microtomo[viewer]"') from None
    return trame.app


def check_port(host: str, port: int) -> None:
    """Raise MicrotomoError unless a server can listen there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        raise MicrotomoError(f"host {host!r} is not an address of this computer: leave --host out") from None
    except (OSError, OverflowError) as error:
        why = "is in use" if getattr(error, "errno", None) == 98 else f"cannot be used ({error})"
        raise MicrotomoError(f"port {port} of {host} {why}: choose another with --port, or 0 for a free one") from None


async def serve(study: Study, host: str = LOOPBACK, port: int = 0, ready: Callable[[str], None] = print) -> None:
    """Serve the viewer until cancelled; ``ready`` gets its address, once it answers.

    The address carries a random key, without which a client gets no data: other users of the computer, and pages of
    other sites open in the same browser, can reach a loopback port too. See :mod:`microtomo.viewer.guard`.
    Raises MicrotomoError without the extra ``viewer`` and where the port cannot be used.
    """
    app = import_trame()
    from trame_client.module import vue3

    from microtomo.viewer.browser import Page
    from microtomo.viewer.guard import SESSION, Guard, quiet

    check_port(host, port)
    key = secrets.token_hex(16)  # no dash at its front, which would read as an option
    server = app.get_server(f"microtomo-{key}", client_type="vue3")
    Page(server, study)
    guard = Guard(host, vue3.www)
    server.controller.on_server_bind.add(guard.install)

    def answer(**_: Any) -> None:
        shown = host if host not in ("0.0.0.0", "::") else socket.gethostname()
        shown = f"[{shown}]" if ":" in shown else shown
        ready(f"http://{shown}:{server.port}/index.html?sessionURL={SESSION}&secret={key}")

    server.controller.on_server_ready.add(answer)
    os.environ["WSLINK_READY_MSG"] = ""  # it would go to stdout
    ours, sys.argv = sys.argv, [sys.argv[0], "--authKey", key, "--host", host]  # trame reads the command line
    try:
        running = server.start(
            port=port, thread=True, open_browser=False, show_connection_info=False, disable_logging=True,
            exec_mode="coroutine", timeout=0, host=host,
        )  # fmt: skip
    finally:
        sys.argv = ours
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # of clients that went away
    sweeping = asyncio.ensure_future(guard.sweep())
    with quiet():
        try:
            await running
        finally:
            sweeping.cancel()
            with suppress(asyncio.InvalidStateError, TimeoutError):  # what it waits for is cancelled already
                await asyncio.wait_for(server.stop(), _GOODBYE_S)
