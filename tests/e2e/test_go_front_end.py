"""The example front-end in Go, which knows pixied by the contract alone: built and run against a real server."""

import asyncio
import os
import re
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.sdk.servers import Proxy, Server, running_server
from tests.support.caller import until, within

from pixied_client import Backend, ClientUnknown, Message

MODULE = Path(__file__).parents[2] / "client_sdk" / "go"
# From here on `go` fetches the release that a module needs.
OLDEST = (1, 21)


def _go() -> tuple[int, ...]:
    """The version of Go; empty if there is none."""
    if shutil.which("go") is None:
        return ()
    version = subprocess.run(["go", "env", "GOVERSION"], cwd="/", capture_output=True, text=True, check=True).stdout
    return tuple(map(int, re.findall(r"\d+", version)))


pytestmark = pytest.mark.skipif(_go() < OLDEST, reason="there is no Go here, or none that builds the module")


class Running:
    """A front-end at work.

    Attributes:
        lines: what it has printed.
        errors: what it has logged.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = asyncio.gather(
            _collect(process.stdout, self.lines),
            _collect(process.stderr, self.errors),
        )

    def type(self, line: str) -> None:
        """Give it a line of input."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())

    async def has_printed(self, *expected: str) -> None:
        """Wait until it has printed so many lines, and see that they are these."""

        async def printed() -> bool:
            return len(self.lines) >= len(expected)

        await until(printed)
        assert self.lines == list(expected)

    async def leaves(self) -> int:
        """End its input. Gives its exit status."""
        assert self._process.stdin
        self._process.stdin.close()
        return await self.ends()

    async def ends(self) -> int:
        """Wait for its end. Gives its exit status."""
        async with within():
            await self._readers
            return await self._process.wait()

    def kill(self) -> None:
        """End it, if it runs."""
        if self._process.returncode is None:
            self._process.kill()


async def _collect(stream: asyncio.StreamReader | None, lines: list[str]) -> None:
    assert stream
    while line := await stream.readline():
        lines.append(line.decode().rstrip("\n"))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built as a stranger builds it: from the committed stubs, with the versions of go.sum."""
    built = tmp_path_factory.mktemp("go") / "frontend"
    done = subprocess.run(
        ["go", "build", "-mod=readonly", "-o", built, "./examples/frontend"],
        cwd=MODULE, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started


@pytest.fixture
async def backend(server: Server) -> AsyncIterator[Backend]:
    async with Backend(server.address) as opened:
        yield opened


@asynccontextmanager
async def front_end(program: Path, address: str, client_id: str, *flags: str) -> AsyncIterator[Running]:
    """The example at work, for a client, or one of its own if there is none."""
    environment = os.environ | {"PIXIED_CLIENT": client_id}
    command = [program, "--address", address, *flags]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment)
    running = Running(process)
    try:
        yield running
    finally:
        running.kill()
        await running.ends()


async def publish(backend: Backend, channel: str, numbers: Sequence[int]) -> list[str]:
    """Publish numbers, each by itself. Gives the lines that the front-end prints of them."""
    for number in numbers:
        await backend.publish([Message.of(channel, number)])
    return [f"{channel} {number}" for number in numbers]


async def all_confirmed(backend: Backend, client_id: str) -> None:
    """Wait until nothing is pending for a client that the front-end holds."""

    async def confirmed() -> bool:
        client = await backend.get_client(client_id)
        return client.pending == 0 and client.front_end == "go-example"

    await until(confirmed)


async def test_it_prints_each_message_once_in_order_and_confirms(
    program: Path, server: Server, backend: Backend
) -> None:
    """What waited for the client, what comes while it is attached, and what comes while its link is broken."""
    client_id = (await backend.create_client(session_timeout=600)).client_id
    await backend.subscribe(client_id, ["/go/a/*"])
    expected = await publish(backend, "/go/a/1", range(10))
    async with (
        Proxy(server.path) as proxy,
        front_end(program, proxy.address, client_id, "--subscribe", "/go/a/*") as front,
    ):
        await front.has_printed(*expected)
        expected += await publish(backend, "/go/a/1", range(10, 20))
        await front.has_printed(*expected)
        await all_confirmed(backend, client_id)
        proxy.refuse(refusing=True)
        await proxy.cut()
        expected += await publish(backend, "/go/a/2", range(20, 30))
        proxy.refuse(refusing=False)
        await front.has_printed(*expected)
        await all_confirmed(backend, client_id)
        assert await front.leaves() == 0
        assert front.lines == expected
    left = await backend.get_client(client_id)
    assert (left.pending, left.front_end) == (0, "")


async def test_it_publishes_what_it_is_given(program: Path, server: Server, backend: Backend) -> None:
    """Each line of its input, under a client of its own, which is gone when it has ended."""
    async with (
        Proxy(server.path) as proxy,
        front_end(program, proxy.address, "", "--subscribe", "/go/b", "--publish", "/go/b") as front,
    ):
        front.type('{"text": "hello"}')
        front.type("[1, 2]")
        await front.has_printed('/go/b {"text": "hello"}', "/go/b [1, 2]")
        (client_id,) = (await backend.subscribers_of("/go/b")).items
        await all_confirmed(backend, client_id)
        assert await front.leaves() == 0
    with pytest.raises(ClientUnknown):
        await backend.get_client(client_id)


async def test_it_ends_with_its_client(program: Path, server: Server, backend: Backend) -> None:
    """Where the session is over there is nothing to come back for, and it says why."""
    client_id = (await backend.create_client(session_timeout=600)).client_id
    async with Proxy(server.path) as proxy, front_end(program, proxy.address, client_id) as front:
        await all_confirmed(backend, client_id)
        await backend.destroy_client(client_id, reason="enough")
        assert await front.ends() == 1
        assert "DETACH_REASON_DESTROYED enough" in front.errors[-1]


async def test_it_lets_pixied_stop_and_comes_back(program: Path) -> None:
    """It ends its link when it is asked to, which lets a stop be over, and attaches again: the memory engine forgot."""
    with running_server("--grace", "1h") as server:
        async with Backend(server.address) as backend:
            client_id = (await backend.create_client(session_timeout=600)).client_id
            async with Proxy(server.path) as proxy, front_end(program, proxy.address, client_id) as front:
                await all_confirmed(backend, client_id)
                assert await asyncio.to_thread(server.stop) == 0
                await asyncio.to_thread(server.start)
                assert await front.ends() == 1
                assert "no live client" in front.errors[-1]
