"""Long lists: what does not fit into one answer of the store."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from tests.engine.benches import Limits, open_redis
from tests.engine.site import Site, page

from pixied_server.core.paging import Page, PageRequest

T = TypeVar("T")


@pytest.mark.parametrize("many", [499, 500, 1_001])
async def test_long_lists_are_whole(store_url: str, many: int) -> None:
    """However many names a partition has, each is listed once and in order, in pages of any size."""
    async with open_redis(store_url, partitions=1)(Limits(clients=many, subscriptions_per_client=many)) as bench:
        site = Site(bench)
        names = [f"{number:04}" for number in range(many)]
        await asyncio.gather(*[site.create(name) for name in names])
        await asyncio.gather(*[site.subscribe(name, "/all") for name in names[1:]])
        await site.subscribe(names[0], *[f"/{name}" for name in names])
        for size in (400, 2_000):
            clients = await _listed(lambda ask: site.engine.list_clients(ask, pattern="", front_end=""), size)
            assert [one.client_id for one in clients] == sorted(site.ids.values())
            subscribers = await _listed(lambda ask: site.engine.subscribers_of("/all", ask), size)
            assert subscribers == sorted(site.ids[name] for name in names[1:])
            channels = await _listed(lambda ask: site.engine.list_channels(ask, pattern=""), size)
            assert [one.pattern for one in channels] == [*[f"/{name}" for name in names], "/all"]


async def _listed(ask: Callable[[PageRequest], Awaitable[Page[T]]], size: int) -> list[T]:
    """All items of a list, page by page."""
    items: list[T] = []
    token = ""
    while True:
        got = await ask(page(size, token))
        assert len(got.items) <= size
        items += got.items
        if not (token := got.next_token):
            return items
