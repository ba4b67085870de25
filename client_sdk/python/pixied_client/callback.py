"""Deliveries to a callback: whole batches, with no work for each recipient."""

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from pixied_client.values import Batch

__all__ = ["BatchCallback", "OnBatch"]

OnBatch: TypeAlias = Callable[[Batch], Awaitable[None] | None]
"""Takes one batch; a delivery is confirmed when its batches have been taken. May be a coroutine function."""


class _Handed(NamedTuple):
    """A delivery that waits for the callback."""

    number: int
    batches: list[Batch]


class BatchCallback:
    """Hands deliveries to the callback one after the other.

    What waits is bounded by the link's window, for nothing is confirmed before the callback has returned.

    Args:
        on_batch: the callback. What it raises ends the front-end.
        release: called with the number of each delivery that was dealt with.
    """

    def __init__(self, on_batch: OnBatch, release: Callable[[list[int]], None]) -> None:
        self._on_batch = on_batch
        self._release = release
        self._waiting: deque[_Handed | Callable[[], None]] = deque()
        self._news = asyncio.Event()

    def put(self, number: int, batches: list[Batch]) -> None:
        """Add a delivery; it may have no batches."""
        self._waiting.append(_Handed(number, batches))
        self._news.set()

    def call_after(self, action: Callable[[], None]) -> None:
        """Have something done once the callback has returned from all that came before."""
        self._waiting.append(action)
        self._news.set()

    def drop(self) -> None:
        """Forget the deliveries that wait: their link is gone, and they come again."""
        self._waiting = deque(item for item in self._waiting if not isinstance(item, _Handed))

    async def run(self) -> None:
        """Hand out what comes, for ever."""
        while True:
            while self._waiting:
                item = self._waiting.popleft()
                await self._hand_out(item) if isinstance(item, _Handed) else item()
            self._news.clear()
            await self._news.wait()

    async def _hand_out(self, delivery: _Handed) -> None:
        for batch in delivery.batches:
            outcome = self._on_batch(batch)
            if inspect.isawaitable(outcome):
                await outcome
        self._release([delivery.number])
