"""`pixied serve --workers`: several processes that are one server, and what becomes of them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import grpc
import pytest
from tests.cli.stage import TIMEOUT, clean_environment, poll

from pixied.v1 import admin_service_pb2 as wire
from pixied_client import Message, sync
from pixied_server.cli.exits import ExitCode

_names = count(1)
_OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


class Workers:
    """A server of several processes."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def said(self, event: str) -> list[dict[str, object]]:
        """The log lines about something."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    @property
    def address(self) -> str:
        """Where they listen."""
        poll(lambda: self.said("listening"))
        ((address,),) = {tuple(line["addresses"]) for line in self.said("listening")}  # type: ignore[arg-type]
        return str(address)

    def processes(self) -> dict[int, int]:
        """The process ids of those that have said where they listen, by their numbers; the last one of each."""
        return {int(str(line["worker"])): int(str(line["process_id"])) for line in self.said("listening")}

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(TIMEOUT)


@contextmanager
def workers(folder: Path, *flags: str) -> Iterator[Workers]:
    command = [sys.executable, "-m", "pixied_server", "serve", "--log-format", "json", *flags]
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stderr=stream, env=clean_environment(), cwd=folder)
    started = Workers(process, log)
    try:
        yield started
    finally:
        process.terminate()
        process.wait(TIMEOUT)


@pytest.fixture
def two(tmp_path: Path, redis_url: str) -> Iterator[Workers]:
    """Two workers that listen."""
    prefix = f"workers{os.getpid()}-{next(_names)}"
    flags = ("--workers", "2", "--engine", redis_url, "--redis-prefix", prefix, "--listen", "127.0.0.1:0")
    with workers(tmp_path, *flags) as started:
        poll(lambda: set(started.processes()) == {1, 2})
        yield started


def _started_at(address: str) -> int:
    """When the worker was started that takes a new connection: that tells it from the others."""
    with grpc.insecure_channel(address, options=_OWN_CONNECTION) as channel:
        ask = channel.unary_unary(
            "/pixied.v1.AdminService/GetInfo",
            wire.GetInfoRequest.SerializeToString,
            wire.GetInfoResponse.FromString,
        )
        return ask(wire.GetInfoRequest(), timeout=TIMEOUT).started_at.ToNanoseconds()


def _is_gone(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return "State:\tZ" in Path(f"/proc/{process_id}/status").read_text()


def test_workers_share_an_address_and_are_one_server(two: Workers) -> None:
    """Connections are spread over them, and what is told to one of them all know."""
    seen: set[int] = set()
    poll(lambda: seen.add(_started_at(two.address)) or len(seen) == 2)
    with sync.Backend(two.address) as one:
        client = one.create_client().client_id
        one.subscribe(client, ["/a"])
    for number in range(10):
        with sync.Backend(two.address) as another:
            another.publish([Message("/a", str(number))])
    with sync.Backend(two.address) as one:
        assert [message.data for message in one.dequeue_for(client).messages] == [str(number) for number in range(10)]


def test_a_worker_that_dies_is_replaced(two: Workers) -> None:
    """SIGKILL of one: the log says so, another serves in its place, and the server goes on meanwhile."""
    before = two.processes()
    os.kill(before[2], signal.SIGKILL)
    poll(lambda: two.processes()[2] != before[2])
    assert two.processes()[1] == before[1]
    [died] = two.said("worker died, another takes its place")
    assert (died["worker"], died["exit_code"]) == (2, -signal.SIGKILL)
    seen: set[int] = set()
    poll(lambda: seen.add(_started_at(two.address)) or len(seen) == 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all(two: Workers, number: signal.Signals) -> None:
    """The supervisor's stop is a planned stop of each worker, and it ends after them, with 0."""
    two.process.send_signal(number)
    assert two.wait() == ExitCode.OK
    assert {line["worker"] for line in two.said("stopped")} == {1, 2}
    assert all(_is_gone(process_id) for process_id in two.processes().values())


def test_drain_stops_all(two: Workers) -> None:
    """Whichever worker is asked to drain, the whole server stops."""
    with sync.Admin(two.address) as admin:
        admin.drain()
    assert two.wait() == ExitCode.OK
    assert {line["worker"] for line in two.said("stopped")} == {1, 2}


def test_workers_end_with_their_supervisor(two: Workers) -> None:
    """SIGKILL of the supervisor leaves nobody behind: the workers stop as planned."""
    two.process.kill()
    poll(lambda: all(_is_gone(process_id) for process_id in two.processes().values()))
    assert {line["worker"] for line in two.said("stopped")} == {1, 2}


def test_a_store_that_is_not_there_is_said_once(tmp_path: Path) -> None:
    """The first worker that can't begin ends the server, with one line for people."""
    flags = ("--workers", "3", "--engine", "redis://127.0.0.1:1/0", "--redis-timeout", "50ms")
    with workers(tmp_path, *flags, "--listen", "127.0.0.1:0") as started:
        assert started.wait() == ExitCode.REFUSED
    text = (tmp_path / "log").read_text()
    assert text.count("127.0.0.1:1 can't be reached") == 1, text


def test_an_address_of_another_server_is_not_shared(two: Workers, tmp_path: Path, redis_url: str) -> None:
    """Only the workers of one server share an address; a second server is told that it is taken."""
    flags = ("--workers", "2", "--engine", redis_url, "--listen", two.address)
    (tmp_path / "second").mkdir()
    with workers(tmp_path / "second", *flags) as second:
        assert second.wait() == ExitCode.REFUSED
    text = (tmp_path / "second" / "log").read_text()
    assert f"can't listen on {two.address}: address already in use" in text
