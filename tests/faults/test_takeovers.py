"""Clients that go from link to link while the store is being asked: what comes again is marked."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

import pytest
from tests.faults.stage import Pixied, reading, receive, running
from tests.support.caller import within
from tests.support.link import RawLink, ack, attach, linked
from tests.support.redis_servers import Server, single
from tests.support.store_proxy import StoreProxy, proxied_store

_names = count(1)


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    """One Redis for all of these tests."""
    with single() as server:
        yield server


@asynccontextmanager
async def _pair(store: Server) -> AsyncIterator[tuple[StoreProxy, Pixied, Pixied]]:
    """A pixied that gets answers when the test lets them through, and one that gets them at once."""
    async with proxied_store(store) as (proxy, url):
        # One partition, so that a subscription begins in the same one as another.
        terms = ("--redis-prefix", f"takeovers{next(_names)}", "--redis-partitions", "1", "--redis-timeout", "30s")
        async with running(url, *terms) as [held_back], running(store.url, *terms) as [other]:
            yield proxy, held_back, other


@asynccontextmanager
async def _full(pixied: Pixied) -> AsyncIterator[RawLink]:
    """A link that sends nothing more until its first delivery is confirmed."""
    async with linked(pixied, window=1) as link:
        client = await pixied.client("/filler")
        await link.attach(client, 99)
        await pixied.queue(client, "/own", "filler")
        assert (await receive(link, "filler", 99, confirm=False)).number == 1
        yield link


async def test_a_client_that_goes_from_link_to_link_while_the_store_is_asked(store: Server) -> None:
    """What the first link sent while the store was asked is marked at the last, though those between sent nothing."""
    async with _pair(store) as (proxy, pixied, other), AsyncExitStack() as stack:
        client = await pixied.client("/a")
        first, last = [await stack.enter_async_context(linked(pixied)) for _ in range(2)]
        between = [await stack.enter_async_context(_full(pixied)) for _ in range(2)]
        await first.attach(client, 1)
        await other.publish("/a", "1")
        await receive(first, "1", confirm=False)
        proxy.hold_answer(b"\r\nclaim\r\n")
        await between[0].send(attach(client, 1))
        async with within():
            await proxy.held.wait()
        await other.publish("/a", "2")
        await receive(first, "2", confirm=False)
        proxy.let_go()
        await between[0].next("attached")
        await between[1].attach(client, 1)
        await last.attach(client, 1)
        got = await receive(last, "2")
        assert (got.texts, got.redelivered, got.lost) == (["1", "2"], ["1", "2"], 0)


async def test_a_subscription_that_comes_while_a_reading_waits(store: Server) -> None:
    """What a link has read for a client, and sends after the client's subscription is known, is marked at the next."""
    async with _pair(store) as (proxy, subscribing, pixied), _full(pixied) as link, linked(pixied) as later:
        ann, bob, witness = await pixied.client("/large"), await pixied.client("/a"), await pixied.client("/a")
        await link.attach(ann, 1)
        await link.attach(bob, 2)
        proxy.hold_answer(b"\r\njoin\r\n")
        subscribed = asyncio.create_task(subscribing("Subscribe", client_id=bob, channels=["/b"]))
        async with within():
            await proxy.held.wait()
        # The subscription to /b begins before this.
        await later.attach(witness, 1)
        # Each fills a delivery; both are read at once.
        first, second = "1" * 950_000, "2" * 950_000
        await pixied.publish("/large", first)
        await pixied.publish("/a", second)
        await receive(later, second)
        async with reading(link) as seen:
            await link.send(ack(1))
            await seen.until(lambda: seen.received[1].texts == [first])
            proxy.let_go()
            await subscribed
            # It returns when the pixied that has the client knows of all changes until then.
            await subscribing("Unsubscribe", client_id=bob, channels=["/none"])
            assert not seen.received[2].texts
            await link.send(ack(2))
            await seen.until(lambda: seen.received[2].texts == [second])
            assert not seen.received[2].redelivered
        await later.attach(bob, 2)
        await pixied.publish("/b", "3")
        got = await receive(later, "3", 2)
        assert [text[0] for text in got.texts] == ["2", "3"]
        assert ([text[0] for text in got.redelivered], got.lost) == (["2"], 0)
