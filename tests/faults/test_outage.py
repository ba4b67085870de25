"""A store that is away for a moment: links stay, and what front-ends said meanwhile is not forgotten."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.faults.stage import Pixied, Seen, answered, reading, running
from tests.support.caller import until
from tests.support.link import RawLink, ack, attach, client_ack, detach, linked
from tests.support.redis_servers import Server, single
from tests.support.store_proxy import StoreProxy, proxied_store

from pixied.v1.message_pb2 import ACK_MODE_EXPLICIT

OUTAGE = 1.0
_names = count(1)


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    """One Redis for all of these tests."""
    with single() as server:
        yield server


@asynccontextmanager
async def _pair(store: Server) -> AsyncIterator[tuple[StoreProxy, Pixied, Pixied]]:
    """A pixied whose store can be away, and another one whose store is always there."""
    async with proxied_store(store) as (proxy, url):
        terms = ("--redis-prefix", f"outage{next(_names)}", "--redis-timeout", "500ms")
        async with running(url, *terms) as [pixied], running(store.url, *terms[:2]) as [other]:
            yield proxy, pixied, other


@asynccontextmanager
async def _away(proxy: StoreProxy, store: Server, how: str) -> AsyncIterator[None]:
    """The store is away while the context lasts, and for a second at least."""
    if how == "cut":
        proxy.cut(refuse=True)
    else:
        store.freeze()
    try:
        yield
        await asyncio.sleep(OUTAGE)
    finally:
        proxy.accept()
        store.thaw()


_HOW = pytest.mark.parametrize("how", ["cut", "hung"])


async def _attach(link: RawLink, seen: Seen, client: str, handle: int, **more: Any) -> None:
    """Attach a client, and try again while the store does not answer."""
    while handle not in seen.attached:
        seen.failed.pop(handle, None)
        await link.send(attach(client, handle, **more))
        await seen.until(lambda: handle in seen.attached or handle in seen.failed)


async def _has_pending(pixied: Pixied, client: str, number: int) -> bool:
    pending: int = (await answered(lambda: pixied("GetClient", client_id=client))).client.pending
    return pending == number


@_HOW
async def test_a_link_stays_whatever_its_front_end_says(store: Server, how: str) -> None:
    """Confirmations, attaches and detaches while the store is away: the stream stays, and they are done later."""
    async with _pair(store) as (proxy, pixied, other), linked(pixied) as link, reading(link) as seen:
        ann, explicit, leaving, coming = [await other.client("/a") for _ in range(4)]
        await _attach(link, seen, ann, 1)
        await _attach(link, seen, explicit, 2, ack_mode=ACK_MODE_EXPLICIT)
        await _attach(link, seen, leaving, 3)
        for client in (ann, explicit, leaving):
            await other.queue(client, "/own", "own")
        await seen.until(lambda: all(seen.received[handle].texts == ["own"] for handle in (1, 2, 3)))
        async with _away(proxy, store, how):
            for number in range(1, seen.number + 1):
                await link.send(ack(number))
                await link.send(client_ack(2, number))
            await link.send(detach(3))
            await link.send(attach(coming, 4))
            await seen.until(lambda: 3 in seen.detached and (4 in seen.failed or 4 in seen.attached))
        for client in (ann, explicit, leaving):
            await until(lambda client=client: _has_pending(other, client, 0))  # type: ignore[misc]
        await until(lambda: other.is_held_by(leaving, ""))
        await _attach(link, seen, coming, 4)
        await _attach(link, seen, leaving, 5)
        await other.publish("/a", "after")
        await seen.until(lambda: all("after" in seen.received[handle].seen for handle in (1, 2, 4, 5)))
        assert [seen.received[handle].texts for handle in (1, 2, 4, 5)] == [["own", "after"]] * 2 + [["after"]] * 2
        assert not any(received.redelivered or received.lost for received in seen.received.values())


@_HOW
@pytest.mark.parametrize("behind", ["client", "link"])
async def test_a_link_that_reads_on_waits_for_the_store(store: Server, how: str, behind: str) -> None:
    """A client, or a whole link, is reading what it is behind with: it goes on when the store is back."""
    texts = [str(number) for number in range(12_000)]
    async with _pair(store) as (proxy, pixied, other), linked(pixied, window=1) as link, reading(link) as seen:
        client = await other.client("/a")
        if behind == "link":
            await _attach(link, seen, client, 1)
        await other.publish_many("/a", ["first", *texts])
        if behind == "client":
            await _attach(link, seen, client, 1)
        await seen.until(lambda: seen.received[1].texts)
        async with _away(proxy, store, how):
            while len(seen.received[1].texts) <= len(texts):
                await link.send(ack(seen.number))
                with suppress(TimeoutError):
                    async with asyncio.timeout(OUTAGE):
                        number = seen.number
                        await seen.until(lambda number=number: seen.number > number)  # type: ignore[misc]
                        continue
                break
        while len(seen.received[1].texts) <= len(texts):
            number = seen.number
            await link.send(ack(number))
            await seen.until(lambda number=number: seen.number > number)  # type: ignore[misc]
        assert seen.received[1].texts == ["first", *texts]
        assert not seen.received[1].lost


async def test_a_session_ends_though_the_answer_to_an_attach_was_lost(store: Server) -> None:
    """Redis has made the process the owner, and the process does not know: nobody keeps the session alive."""
    async with _pair(store) as (proxy, pixied, other), linked(pixied) as link, reading(link) as seen:
        client = await other.client("/a", session_timeout=Duration(seconds=1))
        proxy.lose_answer(b"\r\nclaim\r\n")
        await link.send(attach(client, 1))
        await seen.until(lambda: 1 in seen.failed or 1 in seen.attached)
        assert (proxy.lost.is_set(), seen.attached) == (True, set())

        async def is_over() -> bool:
            try:
                await other("GetClient", client_id=client)
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.NOT_FOUND
            return False

        await until(is_over)


async def test_what_is_taken_comes_though_the_answer_to_the_release_was_lost(store: Server) -> None:
    """Redis has noted that the messages are confirmed: then the caller has to get them."""
    async with _pair(store) as (proxy, pixied, other):
        client = await other.client("/a")
        await other.publish("/a", "1")
        proxy.lose_answer(b"\r\nrelease\r\n")
        got = await answered(lambda: pixied.taken(client))
        assert proxy.lost.is_set()
        assert got == ["1"]
