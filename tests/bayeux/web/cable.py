"""A person's network: a TCP proxy that can be cut and joined again."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Self

__all__ = ["Cable"]


class Cable:
    """Leads from a browser to the balancer.

    Args:
        port: the balancer's.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._whole = True
        self._links: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> str:
        """Where the browser goes."""
        assert self._server
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Break every connection, and every later one at once."""
        self._whole = False
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def join(self) -> None:
        """Let connections through again."""
        self._whole = True

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._links.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            if self._whole:
                far_reader, far = await asyncio.open_connection("127.0.0.1", self._port)
                await _first_of(_copy(reader, far), _copy(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # cut, which is what it is for
        finally:
            self._links.discard(task)
            for end in (writer, far):
                if end:
                    end.transport.abort()


async def _first_of(*ways: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
