"""An engine whose store has done something and not answered yet, so that a test can have things happen in between.

A double, for no engine waits on demand: it hands on what it is asked for, and holds back the answer for as long as a
test says so.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from tests.engine.benches import Bench, Clock

from pixied_server.core.progress import Progress
from pixied_server.core.together import together
from pixied_server.engine.abc import Checkpoint, Claim, Delivered, Engine, LogName, LogsRead, Reading

__all__ = ["LINK", "SlowBench", "SlowEngine", "claim_by", "confirm_of", "release_of"]

T = TypeVar("T")

LINK = ""
"""Stands for the reads of links that are behind."""


def claim_by(front_end: str) -> str:
    """Stands for the claims of a front-end."""
    return f"claim by {front_end}"


def confirm_of(client_id: str) -> str:
    """Stands for what is confirmed for a client."""
    return f"confirm of {client_id}"


def release_of(client_id: str) -> str:
    """Stands for the releases of a client."""
    return f"release of {client_id}"


# Seconds after which a test gives up waiting.
_TIMEOUT = 30.0


class _Gate:
    """Where the first answer waits. Those after it pass."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def passed(self) -> None:
        if not self.reached.is_set():
            self.reached.set()
            await self.open.wait()


class SlowEngine:
    """See the module.

    Attributes:
        together: waits for many operations at once, as an engine does that waits for a store.
        reads: how often was read for each client, by id, and for `LINK`.
        sizes: how many bytes of messages were read for each client.
    """

    def __init__(self, engine: Engine) -> None:
        self.__dict__["engine"] = engine
        self.__dict__["together"] = together
        self.__dict__["gates"] = dict[str, _Gate]()
        self.__dict__["reads"] = Counter[str]()
        self.__dict__["sizes"] = Counter[str]()

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.engine, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    async def claim(
        self, client_id: str, front_end: str, *, expires: bool, cursor: int = 0, checkpoint: Checkpoint | None = None
    ) -> "_SlowClaim":
        """See `Engine`."""
        claim = await self.engine.claim(client_id, front_end, expires=expires, cursor=cursor, checkpoint=checkpoint)
        await self.passed(claim_by(front_end))
        return _SlowClaim(self, claim)

    async def confirm(self, claim: "_SlowClaim", progress: Progress) -> None:
        """See `Engine`."""
        await self.engine.confirm(claim.claim, progress)
        await self.passed(confirm_of(claim.client_id))

    async def release(self, claim: "_SlowClaim", delivered: Delivered) -> None:
        """See `Engine`."""
        await self.engine.release(claim.claim, delivered)
        await self.passed(release_of(claim.client_id))

    async def read(
        self, logs: Mapping[LogName, int], after: Progress, upto: Progress, *, messages: int, size: int
    ) -> LogsRead:
        """See `Engine`."""
        read = await self.engine.read(logs, after, upto, messages=messages, size=size)
        await self.passed(LINK)
        return read

    async def passed(self, what: str) -> None:
        """Wait until what was read for a client or a link, or something else, is answered."""
        self.reads[what] += 1
        gate = self.gates.get(what)
        if gate is not None:
            await gate.passed()


class _SlowClaim:
    """A claim of a slow engine."""

    def __init__(self, engine: SlowEngine, claim: Claim) -> None:
        self.claim = claim
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.claim, name)

    async def read(self, *, messages: int, size: int, least: int) -> Reading:
        """See `Claim`."""
        reading = await self.claim.read(messages=messages, size=size, least=least)
        self._engine.sizes[self.client_id] += sum(entry.message.size for entry in reading.entries)
        await self._engine.passed(self.client_id)
        return reading


class SlowBench:
    """A bench with a slow engine."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.engine: Any = SlowEngine(bench.engine)
        self.clock: Clock = bench.clock

    async def elapse(self, seconds: float) -> None:
        """See `Bench`."""
        await self._bench.elapse(seconds)

    async def settle(self) -> None:
        """See `Bench`. Where many are asked for at once that takes some turns more."""
        for _ in range(4):
            await self._bench.settle()

    @asynccontextmanager
    async def holding_back(self, what: str, asked: Awaitable[T]) -> AsyncIterator["asyncio.Future[T]"]:
        """As long as the context lasts, what was read for a client or a link, or something else, is not answered.

        Args:
            what: the client's id, `LINK`, or `claim_by` and so on.
            asked: what leads to that. It is done when the context is left.
        """
        gate = self.engine.gates[what] = _Gate()
        doing = asyncio.ensure_future(asked)
        try:
            async with asyncio.timeout(_TIMEOUT):
                await gate.reached.wait()
            yield doing
            await self.settle()
            assert not doing.done()
        finally:
            del self.engine.gates[what]
            gate.open.set()
            async with asyncio.timeout(_TIMEOUT):
                await doing
