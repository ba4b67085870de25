"""What a site asks its store for, seen, refused, or answered late: then a test can have things happen in between."""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from tests.engine.site import Site

from pixied_server.engine.redis import RedisEngine
from pixied_server.errors import EngineUnavailable

Ask = Callable[..., "asyncio.Future[Any]"]

__all__ = [
    "Gate",
    "away",
    "failing",
    "gate",
    "late_barriers",
    "late_requests",
    "not_asked",
    "refusal",
    "refusing",
    "unnotified",
    "watching",
]


class Gate:
    """See the module.

    Args:
        most: so many answers are held back, and those after them are not; None for all.
        first: so many pass before that.

    Attributes:
        reached: set when an answer was held back: what was asked for has been done.
        held: how many were.
    """

    def __init__(self, most: int | None = None, first: int = 0) -> None:
        self.reached = asyncio.Event()
        self.held = 0
        self._most = most
        self._first = first
        self._open = asyncio.Event()

    def open(self) -> None:
        """Let all answers through."""
        self._open.set()

    async def passing(self, asked: "asyncio.Future[Any]") -> Any:
        """An answer, when it may pass."""
        answer = await asked
        if self._first:
            self._first -= 1
            return answer
        if self.held == self._most:
            return answer
        self.held += 1
        self.reached.set()
        await self._open.wait()
        return answer

    async def asking(self, ask: Callable[[], "asyncio.Future[Any]"]) -> Any:
        """An answer to what is only asked for when it may pass."""
        self.held += 1
        self.reached.set()
        await self._open.wait()
        return await ask()


@contextmanager
def late_barriers(site: Site) -> Iterator[Gate]:
    """Let no barrier that a site waits for pass while the context lasts, until the gate is opened."""
    engine = site.engine
    assert isinstance(engine, RedisEngine)
    stop = Gate()
    barrier = engine.subscriber.barrier

    async def late(partitions: Collection[int] | None = None) -> None:
        await stop.passing(asyncio.ensure_future(barrier(partitions)))

    with ExitStack() as stack:
        stack.callback(stop.open)
        stack.enter_context(patch.object(engine.subscriber, "barrier", late))
        yield stop


@contextmanager
def gate(site: Site, operation: str, most: int | None = None, first: int = 0) -> Iterator[Gate]:
    """Hold back the answers, or so many after the first few, to an operation that a site asks for in the context."""
    stop = Gate(most, first)

    def held_back(ask: Ask, *words: Any) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(stop.passing(ask(operation, *words)))

    with ExitStack() as stack:
        stack.callback(stop.open)
        stack.enter_context(_asking(site, operation, held_back))
        yield stop


@contextmanager
def late_requests(site: Site, operation: str) -> Iterator[Gate]:
    """Hold back the requests for an operation of the script: it is not done before the gate is opened."""
    stop = Gate()

    def held_back(ask: Ask, *words: Any) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(stop.asking(partial(ask, operation, *words)))

    with ExitStack() as stack:
        stack.callback(stop.open)
        stack.enter_context(_asking(site, operation, held_back))
        yield stop


@contextmanager
def watching(site: Site, operation: str) -> Iterator[list[tuple[Any, ...]]]:
    """Note the arguments of each operation of a kind that a site asks for while the context lasts."""
    asked: list[tuple[Any, ...]] = []

    def noted(ask: Ask, *words: Any) -> "asyncio.Future[Any]":
        asked.append(words)
        return ask(operation, *words)

    with _asking(site, operation, noted):
        yield asked


@contextmanager
def not_asked(site: Site, operation: str) -> Iterator[None]:
    """The site does not ask for this operation while the context lasts."""
    with watching(site, operation) as asked:
        yield
    assert not asked


def refusing(site: Site, operation: str) -> AbstractContextManager[None]:
    """Refuse this operation while the context lasts: the store has not done it."""
    return _asking(site, operation, lambda *_: refusal())


def failing(site: Site, operation: str, errors: list[Exception]) -> AbstractContextManager[None]:
    """Let an operation fail with one of these errors each time, until none is left."""

    def failed(ask: Ask, *words: Any) -> "asyncio.Future[Any]":
        return refusal(errors.pop()) if errors else ask(operation, *words)

    return _asking(site, operation, failed)


@contextmanager
def away(site: Site, number: int) -> Iterator[None]:
    """Let one partition answer a site nothing while the context lasts."""
    engine = site.engine
    assert isinstance(engine, RedisEngine)
    with patch.object(engine.process.partitions[number], "ask", lambda *_, **__: refusal()):
        yield


def refusal(error: Exception | None = None) -> "asyncio.Future[Any]":
    """The answer of a store that fails; that of one that is away by default."""
    refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    refused.set_exception(error or EngineUnavailable("it is away"))
    refused.exception()
    return refused


@contextmanager
def unnotified(site: Site, kind: str) -> Iterator[None]:
    """Let a site receive no notification of a kind while the context lasts."""
    engine = site.engine
    assert isinstance(engine, RedisEngine)
    notified = engine.notified

    def others(of: str, words: Sequence[str]) -> None:
        if of != kind:
            notified(of, words)

    with patch.object(engine, "notified", others):
        yield


@contextmanager
def _asking(site: Site, operation: str, asked: Ask) -> Iterator[None]:
    """Let a function ask for an operation instead; it gets how that is done, and the arguments."""
    engine = site.engine
    assert isinstance(engine, RedisEngine)

    def instead(ask: Ask) -> Ask:
        return lambda name, *words: asked(ask, *words) if name == operation else ask(name, *words)

    with ExitStack() as stack:
        for partition in engine.process.partitions:
            stack.enter_context(patch.object(partition, "ask", instead(partition.ask)))
        yield
