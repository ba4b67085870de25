"""A proxy in front of a Redis server: makes subscriptions silent, late or impossible, cuts connections, counts bytes.

A connection counts as a subscription once it has asked to subscribe; all others carry commands.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.caller import until
from tests.support.redis_servers import Server, login

__all__ = ["StoreProxy", "proxied_store"]

_CHUNK = 65_536


class _Connection:
    """One connection of a pixied, relayed.

    Attributes:
        subscribes: whether it has asked to subscribe.
        silent: whether what the server says on it is dropped.
        loses: whether it is cut when the server says something.
        waits: for that the next answer on it waits.
    """

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter, task: "asyncio.Task[None]") -> None:
        self.near = near
        self.far = far
        self.subscribes = False
        self.silent = False
        self.loses = False
        self.waits: asyncio.Event | None = None
        self._task = task

    def cut(self) -> None:
        """Break it."""
        self._task.cancel()


class StoreProxy:
    """See the module.

    Args:
        target: the socket of the server behind it.

    Attributes:
        dropped: how many bytes silent subscriptions should have got since they were made silent.
        answered: how many bytes the server has answered to commands.
        lost: set when the answer of `lose_answer` is lost.
        held: set when the answer of `hold_answer` is held back.
    """

    def __init__(self, target: Path) -> None:
        self.dropped = 0
        self.answered = 0
        self._target = target
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = asyncio.Event()
        self.held = asyncio.Event()
        self._losing = b""
        self._holding = b""
        self._let_go = asyncio.Event()
        self._refusing = False
        self._refusing_subscriptions = False
        self._on_time = asyncio.Event()
        self._on_time.set()

    # Subscriptions

    @property
    def subscriptions(self) -> int:
        """How many connections subscribe, and are not silent."""
        return sum(one.subscribes and not one.silent for one in self._connections)

    def silence(self) -> None:
        """Drop what the server says on the subscriptions that there are by now; they stay open."""
        self.dropped = 0
        for one in self._connections:
            one.silent |= one.subscribes

    async def replaced(self) -> None:
        """Wait until a silent subscription has missed something, and another one was opened."""

        async def has() -> bool:
            return bool(self.dropped and self.subscriptions)

        await until(has)

    def delay(self) -> None:
        """Hold back what the server says on subscriptions, until `catch_up`."""
        self._on_time.clear()

    def catch_up(self) -> None:
        """Let through what was held back."""
        self._on_time.set()

    def cut_subscriptions(self, *, refuse: bool = False) -> None:
        """Break all subscriptions.

        Args:
            refuse: break each further one too, until `accept`.
        """
        self._refusing_subscriptions |= refuse
        for one in list(self._connections):
            if one.subscribes:
                one.cut()

    # Commands

    def lose_answer(self, word: bytes) -> None:
        """Cut the connection on which a command with this word is sent next, when the server has answered it."""
        self.lost.clear()
        self._losing = word

    def hold_answer(self, word: bytes) -> None:
        """Hold back what the server answers on the connection on which a command with this word is sent next."""
        self.held.clear()
        self._holding, self._let_go = word, asyncio.Event()

    def let_go(self) -> None:
        """Let through what `hold_answer` held back."""
        self._let_go.set()

    # All connections

    def cut(self, *, refuse: bool = False) -> None:
        """Break all connections.

        Args:
            refuse: break each further one too, until `accept`.
        """
        self._refusing |= refuse
        for one in list(self._connections):
            one.cut()

    def accept(self) -> None:
        """Refuse nothing any more."""
        self._refusing = self._refusing_subscriptions = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection to its end."""
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        far_reader, far = await asyncio.open_unix_connection(self._target)
        one = _Connection(writer, far, task)
        self._connections.add(one)
        try:
            if not self._refusing:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._ask(reader, one))
                    ways.create_task(self._answer(far_reader, one))
        except* (OSError, EOFError, asyncio.CancelledError):
            pass  # one side has closed it, or it was cut
        finally:
            self._connections.discard(one)
            self._tasks.discard(task)
            for end in (writer, far):
                end.transport.abort()

    async def close(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, reader: asyncio.StreamReader, one: _Connection) -> None:
        while chunk := await reader.read(_CHUNK):
            one.subscribes |= b"SSUBSCRIBE" in chunk
            if one.subscribes and self._refusing_subscriptions:
                break
            if self._losing and self._losing in chunk:
                one.loses, self._losing = True, b""
            if self._holding and self._holding in chunk:
                one.waits, self._holding = self._let_go, b""
            one.far.write(chunk)
            await one.far.drain()
        raise EOFError

    async def _answer(self, reader: asyncio.StreamReader, one: _Connection) -> None:
        while chunk := await reader.read(_CHUNK):
            if one.loses:
                self.lost.set()
                break
            if one.waits:
                self.held.set()
                await one.waits.wait()
                one.waits = None
            if one.subscribes:
                await self._on_time.wait()
            else:
                self.answered += len(chunk)
            if one.silent:
                self.dropped += len(chunk)
            else:
                one.near.write(chunk)
                await one.near.drain()
        raise EOFError


@asynccontextmanager
async def proxied_store(server: Server) -> AsyncIterator[tuple[StoreProxy, str]]:
    """A proxy in front of a server, and its address as pixied takes it.

    It is served by the caller's loop: start pixied processes in a thread.
    """
    proxy = StoreProxy(server.socket)
    with tempfile.TemporaryDirectory(prefix="pixied-") as folder:
        listener = await asyncio.start_unix_server(proxy.serve, f"{folder}/redis")
        try:
            yield proxy, f"redis+unix://{login()}{folder}/redis?db=0"
        finally:
            listener.close()
            await proxy.close()
