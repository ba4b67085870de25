"""Real servers in processes of their own, and a proxy in front of one that breaks connections at will."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Self

TIMEOUT = 30.0
"""Seconds after which a test gives up waiting; far more than any step takes on a loaded machine."""
PIXIED = ("-m", "pixied_server")
"""What Python runs as the command `pixied`."""


class Server:
    """A pixied on a Unix socket of its own, which can be stopped and started again at the same address."""

    def __init__(self, folder: Path, *flags: str, program: Sequence[str] = PIXIED) -> None:
        self.address = f"unix://{folder}/socket"
        self._folder = folder
        self._command = [sys.executable, *program, "serve", "--listen", self.address, *flags]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> str:
        """The path of its socket."""
        return f"{self._folder}/socket"

    @property
    def process_id(self) -> int:
        """Its process's id."""
        assert self._process
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged, and its predecessors at this address."""
        return (self._folder / "log").read_text()

    def start(self, *flags: str) -> None:
        """Start it, with further flags if need be, and wait until it takes connections."""
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("PIXIED_")}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, *flags], stdout=log, stderr=log, env=environment, cwd=self._folder
            )
        deadline = time.monotonic() + TIMEOUT
        while not self._takes_connections():
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, "the server did not start in time"
            time.sleep(0.02)

    def _takes_connections(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.path) == 0

    def kill(self) -> None:
        """End it without a word, as a power cut would."""
        if self._process:
            self._process.kill()
            self._process.wait(TIMEOUT)
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections live, and nothing is answered."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> int | None:
        """Stop it as an operator would; give its exit code."""
        if not self._process:
            return None
        self._process.terminate()
        return self.exit_code()

    def exit_code(self) -> int:
        """Wait until it has ended by itself."""
        assert self._process
        code = self._process.wait(TIMEOUT)
        self._process = None
        return code


@contextmanager
def running_server(*flags: str, program: Sequence[str] = PIXIED) -> Iterator[Server]:
    """A server for a test, gone when the test is over.

    Args:
        flags: of `pixied serve`.
        program: what Python runs as `pixied`.
    """
    # Not pytest's own folder: its paths can be too long for a Unix socket.
    folder = Path(tempfile.mkdtemp(prefix="pixied-"))
    server = Server(folder, *flags, program=program)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)


class Proxy:
    """Stands between a client and a server, and can cut all connections, hold back bytes, and refuse new ones.

    Args:
        target: the server's socket.
        path: its own socket; none is a port of 127.0.0.1.

    Attributes:
        holding: set when something was held back.
    """

    def __init__(self, target: str, path: str = "") -> None:
        self.address = f"unix://{path}"
        self._target = target
        self._path = path
        self._listener: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.holding = asyncio.Event()
        self._refusing = False
        self._links: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if self._path:
            self._listener = await asyncio.start_unix_server(self._relay, self._path)
        else:
            self._listener = await asyncio.start_server(self._relay, "127.0.0.1", 0)
            self.address = f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener
        self._listener.close()
        await self.cut()

    @property
    def in_use(self) -> bool:
        """Whether there is a connection."""
        return bool(self._links)

    async def cut(self) -> None:
        """Break all connections there are."""
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def refuse(self, *, refusing: bool) -> None:
        """Break every new connection at once, or take them again."""
        self._refusing = refusing

    def freeze(self) -> None:
        """Let nothing more through, in either direction, without breaking a connection."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let everything through again."""
        self._flowing.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._links.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            if not self._refusing:
                far_reader, far = await asyncio.open_unix_connection(self._target)
                await self._both_ways(reader, writer, far_reader, far)
        except (OSError, asyncio.CancelledError):
            pass  # cut, here or there: which is what a proxy is for
        finally:
            self._links.discard(task)
            for end in (writer, far):
                if end:
                    end.transport.abort()

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        far_reader: asyncio.StreamReader,
        far: asyncio.StreamWriter,
    ) -> None:
        ways = [asyncio.create_task(self._copy(reader, far)), asyncio.create_task(self._copy(far_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                if not self._flowing.is_set():
                    self.holding.set()
                    await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()


@asynccontextmanager
async def proxied(server: Server) -> AsyncIterator[Proxy]:
    """A proxy in front of a server."""
    with tempfile.TemporaryDirectory(prefix="pixied-") as folder:
        async with Proxy(server.path, f"{folder}/proxy") as proxy:
            yield proxy
