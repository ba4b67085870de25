"""What is read of Redis for clients that are behind, for links, and after a connection was lost."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from tests.faults.stage import Pixied, Seen, reading, receive, running
from tests.support.caller import until, within
from tests.support.link import RawLink, ack, attach, linked
from tests.support.redis_servers import Server, single
from tests.support.store_proxy import StoreProxy, proxied_store

TEXT = "x" * 1_000
_names = count(1)


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    """One Redis for all of these tests."""
    with single() as server:
        yield server


@asynccontextmanager
async def _proxied(store: Server) -> AsyncIterator[tuple[StoreProxy, Pixied, Pixied]]:
    """A pixied whose connections to the store are watched, and another one."""
    prefix = ("--redis-prefix", f"reading{next(_names)}")
    async with (
        proxied_store(store) as (proxy, url),
        running(url, *prefix) as [pixied],
        running(store.url, *prefix) as [other],
    ):
        yield proxy, pixied, other


@pytest.mark.parametrize("received", [True, False], ids=["received", "not received"])
async def test_what_comes_during_a_read_is_read_too(store: Server, *, received: bool) -> None:
    """Queued and published messages come while a client's backlog is being read: nothing else has to come for them."""
    async with _proxied(store) as (proxy, pixied, other), linked(pixied) as link, reading(link) as seen:
        client = await other.client(*[f"/{number}" for number in range(20)])
        for number in range(20):
            await other.publish(f"/{number}", "before")
        proxy.hold_answer(b"\r\nread\r\n")
        await link.send(attach(client, 1))
        async with within():
            await proxy.held.wait()
        if not received:
            proxy.cut_subscriptions()
        await other.queue(client, "/own", "queued")
        await other.publish("/7", "published")
        proxy.let_go()
        await seen.until(lambda: {"queued", "published"} <= seen.received[1].seen)
        got = seen.received[1]
        assert sorted(got.texts) == sorted(["before"] * 20 + ["queued", "published"])
        assert not got.lost + len(got.redelivered)


async def test_a_backlog_is_read_once(store: Server) -> None:
    """4 MB wait in 100 subscriptions of one client: Redis answers at most 1.3 times what is delivered."""
    patterns = [f"/a/{number}" for number in range(100)]
    async with _proxied(store) as (proxy, pixied, other):
        client = await other.client(*patterns)
        for number in range(40):
            for begin in range(0, 100, 20):
                for pattern in patterns[begin : begin + 20]:
                    await other.publish(pattern, f"{number} {TEXT}")
        before = proxy.answered
        async with linked(pixied) as link:
            await link.attach(client, 1)
            got = 0
            size = 0
            while got < 4_000:
                delivery = await link.next("delivery")
                await link.send(ack(delivery.number))
                for batch in delivery.batches:
                    got += len(batch.messages)
                    size += sum(one.ByteSize() for one in batch.messages)
        assert got == 4_000
        assert proxy.answered - before <= 1.3 * size


async def test_large_messages_are_read_as_they_are_sent(store: Server) -> None:
    """100 clients are behind with 320 MB in all partitions: no more is read for a delivery than goes into it."""
    async with _proxied(store) as (proxy, pixied, other), linked(pixied, window=1) as link:
        clients = [await other.client("/**") for _ in range(100)]
        for channel in "abcdefgh":
            await other.publish(f"/{channel}", "x" * 400_000)
        await link.attach(clients[0], 1)
        first = await link.next("delivery")
        # Its confirmation is what the others wait for.
        for handle, client in enumerate(clients[1:], 2):
            await link.attach(client, handle)
        before = proxy.answered
        await link.send(ack(first.number))
        second = await link.next("delivery")
        size = sum(message.ByteSize() for batch in second.batches for message in batch.messages)
        assert proxy.answered - before <= size + 200_000


async def test_a_link_reads_what_its_own_clients_subscribe_to(store: Server) -> None:
    """A link is behind with /a, which others get as one of /**: 12 MB of other channels are not read for it."""
    async with _proxied(store) as (proxy, pixied, other), linked(pixied, window=1) as link:
        client = await other.client("/a")
        everything = await other.client("/**")
        async with linked(pixied, "another", window=1) as another:
            await link.attach(client, 1)
            await another.attach(everything, 1)
            await other.publish("/a", "first")
            first = await receive(link, "first", confirm=False)
            # More than waits in memory for a link: the rest it has to read.
            for _ in range(11):
                await other.publish("/a", *["a"] * 1_000)
            for _ in range(120):
                await other.publish("/b", *[TEXT] * 100)
            await other.publish("/a", "last")
        before = proxy.answered
        await link.send(ack(first.number))
        got = await receive(link, "last")
        assert got.texts == ["a"] * 11_000 + ["last"]
        assert proxy.answered - before < 3_000_000


async def test_quiet_channels_are_not_read_again_after_each_reconnect(store: Server) -> None:
    """Subscriptions to 400 channels are cut and made again: none of their 400 kB is read."""
    async with _proxied(store) as (proxy, pixied, other), linked(pixied) as link, reading(link) as seen:
        for number in range(20):
            client = await other.client(*[f"/{number}/{one}" for one in range(20)])
            for one in range(20):
                await other.publish(f"/{number}/{one}", TEXT)
            await link.send(attach(client, number + 1))
        await seen.until(lambda: all(len(seen.received[one + 1].texts) == 20 for one in range(20)))
        await _confirmed(link, seen, other)
        costs = []
        for number in range(6):
            before = proxy.answered
            proxy.cut_subscriptions()
            await other.publish("/0/0", f"after {number}")
            await seen.until(lambda number=number: f"after {number}" in seen.received[1].seen)  # type: ignore[misc]
            # Each of these has been quiet since before the cut.
            for one in range(20):
                await other.publish(f"/1/{one}", f"after {number}")
                await other.publish(f"/2/{one}", f"after {number}")
                await link.send(ack(seen.number))
            await seen.until(lambda number=number: seen.received[3].texts.count(f"after {number}") == 20)  # type: ignore[misc]
            costs.append(proxy.answered - before)
        assert max(costs) < 100_000, costs
        assert not any(one.lost or one.redelivered for one in seen.received.values())


async def _confirmed(link: RawLink, seen: Seen, pixied: Pixied) -> None:
    """All that has come is confirmed."""
    await link.send(ack(seen.number))

    async def is_over() -> bool:
        return (await pixied("GetInfo")).holdings.clients == 20

    await until(is_over)
