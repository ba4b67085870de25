"""The example front-ends in Go and Java, which know pixied by the contract alone: built, and run on a real server."""

import asyncio
import os
import re
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.sdk.servers import Proxy, Server, running_server
from tests.support.caller import until, within

from pixied_client import Backend, ClientUnknown, Message

SDKS = Path(__file__).parents[2] / "client_sdk"


def _run(command: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)


def _version(*command: str) -> tuple[int, ...]:
    """The first version that a program prints of itself; empty if it is not on this machine."""
    if shutil.which(command[0]) is None:
        return ()
    done = _run(command, Path("/"))
    found = re.search(r"\d+(\.\d+)*", done.stdout + done.stderr)
    return tuple(map(int, found[0].split("."))) if found else ()


def _has_go() -> bool:
    """From 1.21 on `go` fetches the release that a module needs."""
    return _version("go", "env", "GOVERSION") >= (1, 21)


def _build_go(folder: Path) -> Sequence[str | Path]:
    """As a stranger builds it: from the committed stubs, with the versions of go.sum."""
    program = folder / "frontend"
    done = _run(["go", "build", "-mod=readonly", "-o", program, "./examples/frontend"], SDKS / "go")
    assert done.returncode == 0, done.stderr
    return [program]


def _has_java() -> bool:
    """Maven, and a compiler of Java 17."""
    return _version("javac", "-version") >= (17,) and shutil.which("mvn") is not None


def _build_java(folder: Path) -> Sequence[str | Path]:
    """As a stranger builds it, but for the folder: stubs from the contract, with the versions of pom.xml."""
    command = ["mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", f"-Dbuild.folder={folder}", "process-classes"]
    done = _run(command, SDKS / "java")
    assert done.returncode == 0, done.stdout
    # One thread collects garbage and the first compiler has to do: this program is short.
    quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return ["java", *quick, "-cp", f"{folder}/classes:{folder}/libraries/*", "io.github.pixied.example.FrontEnd"]


@dataclass(frozen=True)
class Language:
    """A language that an example is in.

    Attributes:
        name: which one.
        is_here: return whether this machine has what builds the example.
        build: build it into a folder; return the command that starts it.
    """

    name: str
    is_here: Callable[[], bool]
    build: Callable[[Path], Sequence[str | Path]]


LANGUAGES = [Language("go", _has_go, _build_go), Language("java", _has_java, _build_java)]


@dataclass(frozen=True)
class Example:
    """A built example.

    Attributes:
        name: what it calls itself.
        command: starts it.
    """

    name: str
    command: Sequence[str | Path]


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


@pytest.fixture(scope="module", params=LANGUAGES, ids=lambda language: language.name)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """The example in each language."""
    language: Language = request.param
    if not language.is_here():
        pytest.skip(f"what builds the example in {language.name} is not on this machine, or too old")
    return Example(f"{language.name}-example", language.build(tmp_path_factory.mktemp(language.name)))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started


@pytest.fixture
async def backend(server: Server) -> AsyncIterator[Backend]:
    async with Backend(server.address) as opened:
        yield opened


@asynccontextmanager
async def front_end(example: Example, address: str, client_id: str, *flags: str) -> AsyncIterator[Running]:
    """The example at work, for a client, or one of its own if there is none."""
    environment = os.environ | {"PIXIED_CLIENT": client_id}
    command = [*example.command, "--address", address, *flags]
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


async def all_confirmed(backend: Backend, client_id: str, example: Example) -> None:
    """Wait until nothing is pending for a client that the front-end holds."""

    async def confirmed() -> bool:
        client = await backend.get_client(client_id)
        return client.pending == 0 and client.front_end == example.name

    await until(confirmed)


async def test_it_prints_each_message_once_in_order_and_confirms(
    example: Example, server: Server, backend: Backend
) -> None:
    """What waited for the client, what comes while it is attached, and what comes while its link is broken."""
    client_id = (await backend.create_client(session_timeout=600)).client_id
    await backend.subscribe(client_id, ["/example/a/*"])
    expected = await publish(backend, "/example/a/1", range(10))
    async with (
        Proxy(server.path) as proxy,
        front_end(example, proxy.address, client_id, "--subscribe", "/example/a/*") as front,
    ):
        await front.has_printed(*expected)
        expected += await publish(backend, "/example/a/1", range(10, 20))
        await front.has_printed(*expected)
        await all_confirmed(backend, client_id, example)
        proxy.refuse(refusing=True)
        await proxy.cut()
        expected += await publish(backend, "/example/a/2", range(20, 30))
        proxy.refuse(refusing=False)
        await front.has_printed(*expected)
        await all_confirmed(backend, client_id, example)
        assert await front.leaves() == 0
        assert front.lines == expected
    left = await backend.get_client(client_id)
    assert (left.pending, left.front_end) == (0, "")


async def test_it_publishes_what_it_is_given(example: Example, server: Server, backend: Backend) -> None:
    """Each line of its input, under a client of its own, which is gone when it has ended."""
    async with (
        Proxy(server.path) as proxy,
        front_end(example, proxy.address, "", "--subscribe", "/example/b", "--publish", "/example/b") as front,
    ):
        front.type('{"text": "hello"}')
        front.type("[1, 2]")
        await front.has_printed('/example/b {"text": "hello"}', "/example/b [1, 2]")
        (client_id,) = (await backend.subscribers_of("/example/b")).items
        await all_confirmed(backend, client_id, example)
        assert await front.leaves() == 0
    with pytest.raises(ClientUnknown):
        await backend.get_client(client_id)


async def test_it_ends_with_its_client(example: Example, server: Server, backend: Backend) -> None:
    """Where the session is over there is nothing to come back for, and it says why."""
    client_id = (await backend.create_client(session_timeout=600)).client_id
    async with Proxy(server.path) as proxy, front_end(example, proxy.address, client_id) as front:
        await all_confirmed(backend, client_id, example)
        await backend.destroy_client(client_id, reason="enough")
        assert await front.ends() == 1
        assert "DETACH_REASON_DESTROYED enough" in front.errors[-1]


async def test_it_lets_pixied_stop_and_comes_back(example: Example) -> None:
    """It ends its link when it is asked to, which lets a stop be over, and attaches again: the memory engine forgot."""
    with running_server("--grace", "1h") as server:
        async with Backend(server.address) as backend:
            client_id = (await backend.create_client(session_timeout=600)).client_id
            async with Proxy(server.path) as proxy, front_end(example, proxy.address, client_id) as front:
                await all_confirmed(backend, client_id, example)
                assert await asyncio.to_thread(server.stop) == 0
                await asyncio.to_thread(server.start)
                assert await front.ends() == 1
                assert "no live client" in front.errors[-1]


async def test_it_lives_with_a_server_that_drops_links_soon(example: Example) -> None:
    """Limits may be shorter than a second. On a busy machine a link or two may be lost to one."""
    with running_server("--heartbeat-interval", "100ms", "--silence-limit", "999ms") as server:
        async with Backend(server.address) as backend:
            client_id = (await backend.create_client(session_timeout=600)).client_id
            await backend.subscribe(client_id, ["/example/c"])
            expected = await publish(backend, "/example/c", range(3))
            async with Proxy(server.path) as proxy, front_end(example, proxy.address, client_id) as front:
                await front.has_printed(*expected)
                await all_confirmed(backend, client_id, example)
                assert await front.leaves() == 0
                assert len(front.errors) < 3
