"""How many connections browsers may have, and how long one may take to ask for something."""

import asyncio
import contextlib
import http.client
import json
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.bayeux.site import served
from tests.cli.stage import clean_environment, poll
from tests.sdk.servers import TIMEOUT, Server
from websockets.sync.client import connect

from pixied_client.bayeux import Bayeux, Timing

_DESCRIPTORS = 256
_LISTENING = re.compile(r'"address": ?"127\.0\.0\.1:(\d+)"')
_HANDSHAKE = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling", "websocket"]}


class FrontEnd:
    """A `pixied bayeux` with few descriptors.

    Attributes:
        port: where it listens, on all addresses of the loopback.
    """

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        """Connect from an address of the loopback."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT, source_address=(address, 0))

    def ask(self, address: str = "127.0.0.1") -> list[dict[str, Any]]:
        """Handshake from an address by a connection of its own."""
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=TIMEOUT) as client:
            replies: list[dict[str, Any]] = client.post(
                f"http://127.0.0.1:{self.port}/bayeux", json=[_HANDSHAKE]
            ).json()
            return replies

    def lines(self, about: str) -> int:
        """How often its log says something."""
        return self._log.read_text().count(about)

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.read_text()

    def length(self) -> int:
        """How many lines it has logged: a busy machine has a few of its own, but none for each connection."""
        return len(self.log.splitlines())


@contextmanager
def _front_end(server: Server, log: Path, *flags: str) -> Iterator[FrontEnd]:
    command = [sys.executable, "-m", "pixied_server", "--address", server.address, "bayeux"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", *flags],
            stderr=stderr,
            env=clean_environment(),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS)),  # noqa: PLW1509
        )
    try:
        poll(lambda: _LISTENING.search(log.read_text()) is not None)
        found = _LISTENING.search(log.read_text())
        assert found
        yield FrontEnd(int(found[1]), log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)


def _ended(connections: list[socket.socket]) -> int:
    """How many of these the other side has ended."""
    readable, _, _ = select.select(connections, [], [], 0)
    return sum(_is_over(one) for one in readable)


def _is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except ConnectionError:
        return True


def test_one_address_leaves_room_for_the_others(server: Server, tmp_path: Path) -> None:
    """It has half of what there is, whatever it does with its connections; the log has a line of it."""
    with _front_end(server, tmp_path / "log", "--header-timeout", "60") as front_end, ExitStack() as stack:
        silent = [stack.enter_context(front_end.connect("127.0.0.2")) for _ in range(400)]
        assert front_end.ask()[0]["successful"]
        poll(lambda: _ended(silent) >= 400 - _DESCRIPTORS // 4)
        assert _ended(silent) <= 400 - _DESCRIPTORS // 8
        assert front_end.ask()[0]["successful"]
        assert front_end.lines("too many connections") == 1
        assert front_end.length() < 100, front_end.log


def test_silent_connections_are_ended(server: Server, tmp_path: Path) -> None:
    """However many there are, from however many addresses: then browsers come in again."""
    with _front_end(server, tmp_path / "log", "--header-timeout", "1") as front_end, ExitStack() as stack:
        silent = [
            stack.enter_context(front_end.connect(f"127.0.0.{number}")) for number in range(2, 6) for _ in range(100)
        ]
        poll(lambda: _ended(silent) == 400)
        assert front_end.ask()[0]["successful"]
        assert front_end.length() < 100, front_end.log


def test_a_header_that_comes_by_drops_is_not_waited_for(server: Server, tmp_path: Path) -> None:
    """Neither the first one of a connection nor a later one."""
    with _front_end(server, tmp_path / "log", "--header-timeout", "1") as front_end:
        for first in (b"", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"):
            with front_end.connect() as connection:
                connection.sendall(first)
                connection.settimeout(0.1)
                with contextlib.suppress(ConnectionError):
                    for _ in range(300):
                        connection.sendall(b"GET / HTTP/1.1\r\nx:" if first == b"" else b"G")
                        first = b"x"  # noqa: PLW2901 - the rest of a header that does not end
                        with contextlib.suppress(TimeoutError):
                            while (got := connection.recv(4_096)) != b"":
                                assert got
                            break
                    else:
                        pytest.fail("it waits for ever")


def test_who_waits_for_messages_is_left_alone(server: Server, tmp_path: Path) -> None:
    """A long poll and a WebSocket last for as long as they are meant to."""
    flags = ("--header-timeout", "0.5", "--timeout", "2")
    with _front_end(server, tmp_path / "log", *flags) as front_end:
        place = f"127.0.0.1:{front_end.port}/bayeux"
        with httpx.Client(timeout=TIMEOUT) as client, connect(f"ws://{place}") as websocket:
            websocket.send(json.dumps([_HANDSHAKE]))
            [reply] = json.loads(websocket.recv(TIMEOUT))
            connecting = {"channel": "/meta/connect", "clientId": reply["clientId"], "connectionType": "websocket"}
            websocket.send(json.dumps([connecting]))
            client_id = client.post(f"http://{place}", json=[_HANDSHAKE]).json()[0]["clientId"]
            polling = {"channel": "/meta/connect", "clientId": client_id, "connectionType": "long-polling"}
            for _ in range(2):  # the first one is answered at once
                assert client.post(f"http://{place}", json=[polling]).json()[0]["successful"]
            for _ in range(2):  # the second one is held
                assert json.loads(websocket.recv(TIMEOUT))[0]["successful"]
                websocket.send(json.dumps([connecting]))


def test_who_asks_now_and_then_is_left_alone(server: Server, tmp_path: Path) -> None:
    """A connection may be open for longer than one request may take."""
    with _front_end(server, tmp_path / "log", "--header-timeout", "4") as front_end:
        connection = http.client.HTTPConnection("127.0.0.1", front_end.port, timeout=TIMEOUT)
        connection.connect()
        connection.auto_open = 0
        for _ in range(10):
            connection.request("GET", "/")
            assert connection.getresponse().read()
            time.sleep(0.5)  # it is a matter of time
        connection.close()


def test_connections_that_ended_make_room(server: Server, tmp_path: Path) -> None:
    """Requests, WebSockets and silent ones: more one after the other than there may be at a time."""
    with _front_end(server, tmp_path / "log") as front_end:
        for _ in range(_DESCRIPTORS):
            front_end.connect().close()
            with connect(f"ws://127.0.0.1:{front_end.port}/bayeux") as websocket:
                websocket.send("[]")
                assert websocket.recv(TIMEOUT) == "[]"
        assert front_end.ask()[0]["successful"]
        assert front_end.lines("too many connections") == 0


async def test_a_body_that_does_not_come_is_not_waited_for(server: Server) -> None:
    """The request is refused when it has taken too long."""
    async with served(Bayeux(server.address, timing=Timing(request=0.2))) as place:
        host, _, port = place.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n[")
        async with asyncio.timeout(TIMEOUT):
            status = await reader.readline()
            body = (await reader.readuntil(b"]"))[-100:]
        writer.close()
        assert status.startswith(b"HTTP/1.1 408 ")
        assert b"408::The request did not come in time" in body
