"""Mail by a callback: whole batches, with no work for each recipient."""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pixied_client.values import Batch

__all__ = ["BatchCallback", "OnDelivery"]

OnDelivery: TypeAlias = Callable[[Batch], Awaitable[None] | None]
"""Takes one batch; a delivery is confirmed when its batches have been taken. May be a coroutine function."""


class BatchCallback:
    """Hands deliveries to the callback one after the other.

    What waits is bounded by the link's window, for nothing is confirmed before the callback has returned.

    Args:
        on_delivery: the callback. What it raises ends the front-end.
        release: is told the number of each delivery that was dealt with.
    """

    def __init__(self, on_delivery: OnDelivery, release: Callable[[list[int]], None]) -> None:
        self._on_delivery = on_delivery
        self._release = release
        self._waiting: deque[list[Batch]] = deque()
        self._news = asyncio.Event()

    def put(self, batches: list[Batch]) -> None:
        """Add the batches of one delivery, 1 or more."""
        self._waiting.append(batches)
        self._news.set()

    def drop(self) -> None:
        """Forget what waits: its link is gone, and it comes again."""
        self._waiting.clear()

    async def run(self) -> None:
        """Hand out what comes, for ever."""
        while True:
            while self._waiting:
                await self._hand_out(self._waiting.popleft())
            self._news.clear()
            await self._news.wait()

    async def _hand_out(self, batches: list[Batch]) -> None:
        for batch in batches:
            outcome = self._on_delivery(batch)
            if inspect.isawaitable(outcome):
                await outcome
        self._release([batches[0].number])
