"""`pixied bayeux`."""

import builtins
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.conftest import logs_restored
from tests.cli.stage import clean_environment, meanwhile, poll, run_command
from tests.sdk.servers import TIMEOUT, Server
from websockets.sync.client import connect

from pixied_server.cli.exits import ExitCode

__all__ = ["logs_restored"]  # a fixture


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def _signals_restored() -> Iterator[None]:
    """Undoes what the command makes of the process's signals."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - clean_environment().keys():
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("logs_restored", "_signals_restored")
def test_it_serves_until_it_is_told_to_stop(server: Server, free_port: int) -> None:
    """It answers Bayeux at its path, says elsewhere what it is, and a signal ends it well."""
    found: dict[str, Any] = {}

    def visit(over: threading.Event) -> None:
        del over
        place = f"http://127.0.0.1:{free_port}"
        try:
            poll(lambda: _answers(free_port))
            handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["long-polling"]}
            response = httpx.post(f"{place}/here", json=handshake)
            found["bayeux"], found["cookie"] = response.json(), response.headers["set-cookie"]
            found["elsewhere"] = httpx.get(place).status_code
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    flags = ["--listen", f"127.0.0.1:{free_port}", "--path", "/here", "--timeout", "7", "--origin", "https://a.example"]
    flags += ["--transport", "long-polling", "--transport", "websocket", "--no-broadcast-to-publisher"]
    flags += ["--cookie-secure", "--cookie-same-site", "None", "--cookie-domain", "a.example"]
    with meanwhile(visit):
        result = run_command("--address", server.address, "bayeux", *flags)
    assert result.exit_code == ExitCode.OK, result.output
    assert found["bayeux"][0]["advice"] == {"reconnect": "retry", "interval": 0, "timeout": 7_000}
    assert found["bayeux"][0]["supportedConnectionTypes"] == ["websocket", "long-polling"]
    assert found["cookie"].partition("; ")[2] == "Domain=a.example; Path=/; SameSite=None; HttpOnly; Secure"
    assert found["elsewhere"] == 404
    assert '"listening"' in result.stderr


def test_no_secret_is_logged(server: Server, free_port: int, tmp_path: Path) -> None:
    """Not even with every line there is: no client id and no payload, by whatever transport they came."""
    client_ids: list[str] = []

    def visit(place: str) -> None:
        client_ids.append(_visit(place, "private"))
        # A browser can send no headers with it, so that applications have their tokens there.
        with connect(f"ws:{place}?token=private") as websocket:
            websocket.send("[]")
            assert websocket.recv(TIMEOUT) == "[]"

    written = _log_of(visit, server, free_port, tmp_path)
    assert '"listening"' in written
    assert client_ids[0][:8] not in written
    assert "private" not in written


def test_callers_can_not_fill_the_log(server: Server, free_port: int, tmp_path: Path) -> None:
    """A few bytes that nobody can read are one line, however often they come."""

    def send_nonsense(place: str) -> None:
        del place
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", free_port), TIMEOUT) as caller:
                caller.sendall(b"nonsense\r\n\r\n")
                assert b" 400 " in caller.recv(1_024)

    written = _log_of(send_nonsense, server, free_port, tmp_path)
    assert written.count("uvicorn.error") == 1


def _log_of(visit: Callable[[str], None], server: Server, port: int, folder: Path) -> str:
    """Run a front-end while it is visited; give what it logs."""
    flags = ["--listen", f"127.0.0.1:{port}", "--log-level", "debug"]
    command = [sys.executable, "-m", "pixied_server", "--address", server.address, "bayeux", *flags]
    log = folder / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, env=clean_environment())
    try:
        poll(lambda: _answers(port))
        visit(f"//127.0.0.1:{port}/bayeux")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(TIMEOUT)
    return log.read_text()


def _visit(place: str, data: str) -> str:
    """Publish by every transport there is; give the client's id."""
    with connect(f"ws:{place}") as websocket:
        handshake = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"]}
        websocket.send(json.dumps([handshake]))
        client_id: str = json.loads(websocket.recv(TIMEOUT))[0]["clientId"]
        publish = [{"channel": "/a", "clientId": client_id, "data": data}]
        websocket.send(json.dumps(publish))
        assert json.loads(websocket.recv(TIMEOUT))[0]["successful"]
    assert httpx.get(f"http:{place}", params={"message": json.dumps(publish)}).status_code == 200
    assert httpx.post(f"http:{place}", json=publish, headers={"cookie": f"id={client_id}"}).status_code == 200
    with httpx.stream("GET", f"http:{place}/{client_id}", headers={"accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
    return client_id


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--listen", "nowhere"], ExitCode.USAGE, "--listen nowhere: "),
        (["--path", "bayeux"], ExitCode.USAGE, "it has to begin with a slash"),
        (["--path", "/bayeux/"], ExitCode.USAGE, "not to end with one"),
        (["--timeout", "-1"], ExitCode.USAGE, "--timeout"),
        (["--timeout", "nan"], ExitCode.USAGE, "--timeout"),
        (["--transport", "pigeon"], ExitCode.USAGE, "there is no transport pigeon; there are websocket, "),
        (["--transport", "callback-polling", "--no-jsonp"], ExitCode.USAGE, "no transport is on"),
        (["--cookie-same-site", "None"], ExitCode.USAGE, "has to be secure"),
        (["--cookie-domain", "a;b"], ExitCode.USAGE, "'a;b' can't stand in a cookie"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(flags: list[str], code: ExitCode, said: str) -> None:
    """Before anything is started."""
    result = run_command("bayeux", *flags)
    assert result.exit_code == code
    assert said in result.output


def test_a_port_that_is_taken_is_named() -> None:
    """The first failure that most meet."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_command("bayeux", "--listen", f"127.0.0.1:{port}")
    assert result.exit_code == ExitCode.REFUSED
    assert f"can't listen on 127.0.0.1:{port}: Address already in use" in result.output


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command needs an extra; without it one line says so."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pixied_client.bayeux":
            raise ModuleNotFoundError(name="msgspec")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    result = run_command("bayeux")
    assert result.exit_code == ExitCode.USAGE
    assert "msgspec is missing; install it with: pip install 'pixied[bayeux]'" in result.output
