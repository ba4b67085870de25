"""Holds back what a store has answered, so that a test can have things happen in between."""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from tests.engine.site import Site

from pixied_server.engine.redis import RedisEngine

__all__ = ["Gate", "gate", "late_barriers"]


class Gate:
    """See the module.

    Attributes:
        reached: set when an answer was held back: what was asked for has been done.
        held: how many were.
    """

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.held = 0
        self._open = asyncio.Event()

    def open(self) -> None:
        """Let all answers through."""
        self._open.set()

    async def passing(self, asked: "asyncio.Future[Any]") -> Any:
        """An answer, when it may pass."""
        answer = await asked
        self.held += 1
        self.reached.set()
        await self._open.wait()
        return answer


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
def gate(site: Site, operation: str) -> Iterator[Gate]:
    """Hold back the answers to an operation of the script that a site asks for while the context lasts."""
    engine = site.engine
    assert isinstance(engine, RedisEngine)
    stop = Gate()
    partitions = engine.process.partitions

    def held_back(ask: Any) -> Any:
        def asked(name: str, *arguments: Any) -> "asyncio.Future[Any]":
            answer = ask(name, *arguments)
            return asyncio.ensure_future(stop.passing(answer)) if name == operation else answer

        return asked

    with ExitStack() as stack:
        stack.callback(stop.open)
        for partition in partitions:
            stack.enter_context(patch.object(partition, "ask", held_back(partition.ask)))
        yield stop
