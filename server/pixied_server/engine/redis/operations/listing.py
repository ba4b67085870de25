"""Lists in pages, merged from all partitions. No read is larger than a page."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from heapq import heapify, heappop, heapreplace
from typing import TypeVar

from pixied_server.core.channels import is_pattern, logs_of, meets
from pixied_server.core.paging import Page, PageRequest
from pixied_server.engine.abc import Channel, Client
from pixied_server.engine.redis.partition.layout import Layout
from pixied_server.engine.redis.partition.protocol import Answer, LogState, Partition

__all__ = ["Listing"]

# How many names are read at once where some of them may be filtered out.
_CHUNK = 500

T = TypeVar("T")


class Listing:
    """See the module.

    Args:
        layout: where things are.
        partitions: all of them.
    """

    def __init__(self, layout: Layout, partitions: Sequence[Partition]) -> None:
        self._layout = layout
        self._partitions = partitions

    async def subscribers_of(self, pattern: str, page: PageRequest) -> Page[str]:
        """List clients with a subscription that meets the pattern in at least one channel name."""

        async def item(client_id: str) -> str:
            return client_id

        return await self._page(page, self._subscribers(pattern, page.after), item)

    async def clients(
        self, page: PageRequest, pattern: str, described: Callable[[str], Awaitable[Client | None]]
    ) -> Page[Client]:
        """List the clients that pass the filter and have a description."""
        names = self._subscribers(pattern, page.after) if pattern else self._clients(page.after)
        return await self._page(page, names, described)

    async def channels(self, page: PageRequest, pattern: str) -> Page[Channel]:
        """List the channels that meet a pattern; "" for all."""
        names = self._patterns(page.after, pattern)
        return await self._page(page, names, self._channel)

    async def _channel(self, pattern: str) -> Channel | None:
        logs: list[LogState] = []
        for answer in [self._partitions[number].logs([pattern]) for number in self._layout.of_log(pattern)]:
            logs += await answer
        subscribers = max(log.subscribers for log in logs)
        return Channel(pattern, subscribers, sum(log.messages for log in logs), sum(log.bytes for log in logs))

    async def _page(
        self, page: PageRequest, names: AsyncIterator[str], item: Callable[[str], Awaitable[T | None]]
    ) -> Page[T]:
        """Make a page of items; names whose item is None are left out."""
        items: list[T] = []
        last = ""
        chunk: list[str] = []
        async for name in names:
            if len(items) == page.size:
                return Page(items, page.token_after(last))
            chunk.append(name)
            if len(chunk) + len(items) < page.size:
                continue
            last = await self._fill(items, chunk, item) or last
            chunk = []
        await self._fill(items, chunk, item)
        return Page(items, "")

    async def _fill(self, items: list[T], names: list[str], item: Callable[[str], Awaitable[T | None]]) -> str:
        """Add items. Return the name of the last one that was added."""
        last = ""
        for name, found in zip(names, await asyncio.gather(*map(item, names)), strict=True):
            if found is not None:
                items.append(found)
                last = name
        return last

    # Names in ascending order

    async def _clients(self, after: str) -> AsyncIterator[str]:
        sources = [_chunks(partition.clients, after) for partition in self._partitions]
        async for name in self._alive(_merged(sources)):
            yield name

    async def _patterns(self, after: str, met: str) -> AsyncIterator[str]:
        sources = [_chunks(partition.patterns, after) for partition in self._partitions]
        async for name in _merged(sources):
            if not met or meets(name, met):
                yield name

    async def _subscribers(self, pattern: str, after: str) -> AsyncIterator[str]:
        if is_pattern(pattern):
            patterns = [name async for name in self._patterns("", pattern)]
        else:
            patterns = list(logs_of(pattern))
        sources = [_chunks(partial(self._partitions[self._layout.of(one)].members, one), after) for one in patterns]
        async for name in self._alive(_merged(sources)):
            yield name

    async def _alive(self, names: AsyncIterator[str]) -> AsyncIterator[str]:
        """Leave out sessions that are over and have yet to be reaped."""
        chunk: list[str] = []
        async for name in names:
            chunk.append(name)
            if len(chunk) == _CHUNK:
                for one in await self._living(chunk):
                    yield one
                chunk = []
        for one in await self._living(chunk):
            yield one

    async def _living(self, names: Sequence[str]) -> list[str]:
        by_partition: dict[int, list[str]] = {}
        for name in names:
            by_partition.setdefault(self._layout.of(name), []).append(name)
        answers = {number: self._partitions[number].alive(some) for number, some in by_partition.items()}
        living: set[str] = set()
        for number, answer in answers.items():
            living.update(name for name, lives in zip(by_partition[number], await answer, strict=True) if lives)
        return [name for name in names if name in living]


async def _chunks(page: Callable[[str, int], Answer[list[str]]], after: str) -> AsyncIterator[str]:
    while True:
        names = await page(after, _CHUNK)
        for name in names:
            yield name
        if len(names) < _CHUNK:
            return
        after = names[-1]


async def _merged(sources: Sequence[AsyncIterator[str]]) -> AsyncIterator[str]:
    """Merge ascending sources into one ascending list, each name once."""
    firsts = await asyncio.gather(*[anext(source, None) for source in sources])
    heads = [(first, number) for number, first in enumerate(firsts) if first is not None]
    heapify(heads)
    last = None
    while heads:
        name, number = heads[0]
        if name != last:
            yield name
            last = name
        following = await anext(sources[number], None)
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following, number))
