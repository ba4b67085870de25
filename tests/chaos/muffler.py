"""Stands between pixied and Redis, and can make connections that listen to channels silent without breaking them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.caller import until
from tests.support.redis_servers import Server

__all__ = ["Muffler", "muffled"]


class Muffler:
    """See the module.

    Args:
        target: the socket of the server behind it.

    Attributes:
        held: how many bytes it has held back since it was last told to.
    """

    def __init__(self, target: Path) -> None:
        self.held = 0
        self._target = target
        self._listening: set[asyncio.StreamWriter] = set()
        self._muffled: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()

    def muffle(self) -> None:
        """What the server says on the connections that listen by now is held back for good."""
        self.held = 0
        self._muffled |= self._listening

    async def replaced(self) -> None:
        """Wait until something was held back, and another connection listens."""

        async def has() -> bool:
            return bool(self.held and self._listening - self._muffled)

        await until(has)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        far_reader, far = await asyncio.open_unix_connection(self._target)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._ask(reader, far, writer))
                ways.create_task(self._answer(far_reader, writer))
        except* (OSError, EOFError, asyncio.CancelledError):
            pass  # one side has closed it, or the test is over
        finally:
            self._serving.discard(task)
            self._listening.discard(writer)
            for end in (writer, far):
                end.transport.abort()

    async def close(self) -> None:
        """End all connections."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _ask(self, reader: asyncio.StreamReader, far: asyncio.StreamWriter, near: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            if b"SSUBSCRIBE" in chunk:
                self._listening.add(near)
            far.write(chunk)
            await far.drain()
        raise EOFError

    async def _answer(self, far: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        while chunk := await far.read(65_536):
            if near in self._muffled:
                self.held += len(chunk)
            else:
                near.write(chunk)
                await near.drain()
        raise EOFError


@asynccontextmanager
async def muffled(server: Server) -> AsyncIterator[tuple[Muffler, str]]:
    """A muffler in front of a server, and its address as pixied takes it."""
    muffler = Muffler(server.socket)
    with tempfile.TemporaryDirectory(prefix="pixied-") as folder:
        listener = await asyncio.start_unix_server(muffler.serve, f"{folder}/redis")
        try:
            yield muffler, f"unix://{folder}/redis?db=0"
        finally:
            listener.close()
            await muffler.close()
