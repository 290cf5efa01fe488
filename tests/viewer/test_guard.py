"""The viewer against files, pages and programs that mean harm."""

import asyncio
import signal
import socket
import time
from dataclasses import replace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from browsing import chromium, viewer, watched
from microtomo import write_scan

pytest.importorskip("aiohttp", reason="the viewer is not installed: pip install microtomo[viewer]")
from aiohttp.test_utils import make_mocked_request

from microtomo.materials import Layer, Material
from microtomo.study import Study
from microtomo.viewer.browser import Page
from microtomo.viewer.guard import SESSION, Guard, known_host, policy, refusal

HOSTILE = "{{constructor.constructor('window.pwned=1')()}}<img src=x onerror=window.pwned=2>.h5"


@pytest.mark.parametrize(
    ("authority", "listening", "known"),
    [
        ("127.0.0.1:8080", "127.0.0.1", True),
        ("localhost:9000", "127.0.0.1", True),
        ("[::1]:8080", "::1", True),
        ("microscope.lab:8080", "microscope.lab", True),
        ("192.168.0.7:8080", "0.0.0.0", True),
        (f"{socket.gethostname()}:8080", "0.0.0.0", True),
        ("evil.example:8080", "127.0.0.1", False),
        ("evil.example", "0.0.0.0", False),
        ("localhost.evil.example", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("[::1", "127.0.0.1", False),
    ],
)
def test_a_name_that_points_here_is_not_enough(authority, listening, known):
    assert known_host(authority, listening) is known


@pytest.mark.parametrize(
    ("path", "headers", "told"),
    [
        ("/index.html", {}, None),
        (f"/index.html?sessionURL={SESSION}&secret=ab", {}, None),
        ("/ws", {"Origin": "http://127.0.0.1:8080"}, None),
        ("/ws", {"Origin": "http://evil.example"}, "another site"),
        ("/ws", {"Origin": "null"}, "another site"),
        ("/ws", {"Origin": "http://127.0.0.1:9"}, "another site"),
        ("/index.html", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, "another site"),
        ("/index.html?sessionURL=ws://evil.example/ws", {}, "another server"),
        (f"/index.html?sessionURL={SESSION}&sessionURL=ws://evil.example/ws", {}, "another server"),
        ("/index.html?sessionManagerURL=http://evil.example", {}, "another server"),
        ("/index.html", {"Host": "evil.example"}, "by that name"),
    ],
)
def test_other_sites_are_refused(path, headers, told):
    request = make_mocked_request("GET", path, headers={"Host": "127.0.0.1:8080"} | headers)
    reason = refusal(request, "127.0.0.1")
    assert reason is None if told is None else told in reason


def test_nothing_is_posted():
    request = make_mocked_request("POST", "/index.html", headers={"Host": "127.0.0.1:8080"})
    assert "no data" in refusal(request, "127.0.0.1")


def test_the_policy_names_the_scripts_of_the_page_by_their_hash():
    # printf 'alert(1)' | openssl dgst -sha256 -binary | base64
    assert "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='" in policy(b"<p><script>alert(1)</script>")
    assert "'unsafe-inline'" not in policy(b"").split("script-src")[1].split(";")[0]
    assert "connect-src 'self'; " in policy(b"")
    assert policy(b"").endswith("frame-ancestors 'none'")


class Connection:
    closed = False

    def force_close(self):
        self.closed = True


class Socket:
    code = None

    async def close(self, code):
        self.code = code


def test_idle_connections_and_clients_without_the_key_are_closed(tmp_path):
    (tmp_path / "index.html").write_text("")
    busy, idle, known, stranger = Connection(), Connection(), Socket(), Socket()

    class Handler:
        connections = {"a": known, "b": stranger}  # noqa: RUF012

        def isClientAuthenticated(self, client):
            return client == "a"

    class Server:
        class runner:
            class server:
                connections = (busy, idle)

        _ws_handlers = (Handler(),)

    guard = Guard("127.0.0.1", tmp_path)
    guard._server, guard._busy = Server, {busy}
    for before, closed in ((time.monotonic() - 5, False), (time.monotonic() + 5, True)):
        guard.close_idle(before)
        asyncio.run(guard.close_strangers(before))
        assert (idle.closed, stranger.code) == (closed, 1008 if closed else None)
    assert (busy.closed, known.code) == (False, None)


@pytest.fixture
def hostile(tmp_path, scan):
    write_scan(tmp_path / HOSTILE, scan)
    return tmp_path / HOSTILE


def sent(port, content):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(content)
        return client.recv(100)


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def test_malformed_requests_and_closed_sockets_are_nothing_to_read_about(hostile):
    with viewer(hostile) as (process, address):
        port = int(address.split(":")[2].split("/")[0])
        assert b" 400 " in sent(port, b"\x16\x03\x01\x00\xff nonsense\r\n\r\n")
        assert b" 400 " in sent(port, b"GET /%zz HTTP/9.9\r\n\r\n")
        assert b" 403 " in sent(port, b"GET /index.html HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        for frame in (
            b"\x82\x84\0\0\0\0\xff\xff\xff\xff",
            b"\x81\x85\0\0\0\0\x1b[31m",
            b"\x8f\x80\0\0\0\0",
            b"\xff\xff",
        ):
            assert b" 101 " in sent(port, UPGRADE + frame)  # and hangs up
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]  # which say nothing
        half = socket.create_connection(("127.0.0.1", port))
        half.sendall(UPGRADE)
        with pytest.raises(HTTPError, match="403"):
            urlopen(address.replace("ws://USE_HOST", "ws://evil.example"))
        with pytest.raises(HTTPError, match="403"):
            urlopen(Request(address, headers={"Origin": "http://evil.example"}))
        assert urlopen(address).headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        for client in (*waiting, half):
            client.close()
    assert process.returncode == 0
    assert out == ""
    assert err.splitlines()[-1] == "viewer ended"
    assert "Traceback" not in err
    assert "\x1b" not in err


@pytest.mark.browser
def test_a_file_runs_no_script_in_the_viewer(hostile):
    with chromium() as browser, viewer(hostile) as (_, address), watched(browser) as (page, troubles, _):
        page.goto(address)
        page.wait_for_selector(".mt-panels[data-ready=yes]", state="attached", timeout=60_000)
        assert HOSTILE in page.locator("h1").inner_text()
        assert page.evaluate("window.pwned") is None
        assert troubles == []
        asked = """url => new Promise(done => {
            document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));
            new WebSocket(url).onopen = () => done('open'); })"""
        assert page.evaluate(asked, "ws://127.0.0.1:1/ws") == "connect-src"
        page.goto(address.replace("ws://USE_HOST", "ws://evil.example"))
        assert "another server" in page.content()


def test_names_reach_the_page_as_data_and_never_as_template(stack, maps, rec, monkeypatch):
    import trame.ui.html
    from trame.app import get_server

    name, written = "');alert(1)//", []
    spoilt = Material.model_construct(**dict(stack.substrate) | {"symbol": name})
    layers = (Layer.model_construct(material=spoilt, max_nm=15.0), stack.layers[1])
    hostile = stack.model_copy(update={"layers": layers})

    class Recorder(trame.ui.html.DivLayout):
        def __exit__(self, *error):
            written.append(self.html)
            super().__exit__(*error)

    monkeypatch.setattr(trame.ui.html, "DivLayout", Recorder)
    server = get_server("names", client_type="vue3")
    Page(server, Study("<b>", replace(rec, stack=hostile), None, maps))
    assert name in server.state.materials
    assert "<microtomo-panels" in written[0]
    assert "alert(1)" not in written[0]
