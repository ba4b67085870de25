"""Messages that are queued for a client while its pixied receives no notifications."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from tests.faults.stage import Pixied, receive, running
from tests.support.link import RawLink, linked
from tests.support.redis_servers import Server, single
from tests.support.store_proxy import StoreProxy, proxied_store

_names = count(1)


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    """One Redis for all of these tests."""
    with single() as server:
        yield server


def _break(proxy: StoreProxy, how: str) -> None:
    if how == "silent":
        proxy.silence()
    elif how == "late":
        proxy.delay()
    else:
        proxy.cut_subscriptions(refuse=True)


def _mend(proxy: StoreProxy) -> None:
    proxy.accept()
    proxy.cut_subscriptions()
    proxy.catch_up()


@asynccontextmanager
async def _attached(store: Server, patterns: list[str]) -> AsyncIterator[tuple[StoreProxy, Pixied, str, RawLink]]:
    """A client with these subscriptions on a link, live; the proxy that its pixied reaches the store through."""
    async with proxied_store(store) as (proxy, url):
        # One partition, so that what is queued and what is published get their numbers from the same one.
        terms = ("--redis-prefix", f"queued{next(_names)}", "--redis-partitions", "1")
        async with running(url, *terms) as [pixied], linked(pixied) as link:
            client = await pixied.client(*patterns)
            await link.attach(client, 1)
            await pixied.publish("/a", "before")
            assert (await receive(link, "before")).texts == ["before"]
            yield proxy, pixied, client, link


_HOW = pytest.mark.parametrize("how", ["silent", "late", "reconnecting"])
_PATTERNS = pytest.mark.parametrize("patterns", [["/a"], ["/**"]], ids=["channel", "all"])


@_HOW
@_PATTERNS
async def test_what_is_queued_on_a_channel_that_the_client_subscribes_to(
    store: Server, patterns: list[str], how: str
) -> None:
    """It is delivered once the notifications are back: it is no copy of a message that came by the subscription."""
    async with _attached(store, patterns) as (proxy, pixied, client, link):
        _break(proxy, how)
        await pixied.queue(client, "/a", "queued")
        _mend(proxy)
        assert (await receive(link, "queued")).texts == ["queued"]
        await pixied.publish("/a", "after")
        got = await receive(link, "after")
        assert (got.texts, got.lost) == (["after"], 0)


@_HOW
async def test_what_is_queued_among_what_is_published(store: Server, how: str) -> None:
    """All of it is delivered once, each kind in order, though the notifications are away meanwhile."""
    async with _attached(store, ["/a", "/**"]) as (proxy, pixied, client, link):
        _break(proxy, how)
        await pixied.queue(client, "/a", "queued 1")
        await pixied.publish("/a", "published 1")
        await pixied.queue(client, "/a", "queued 2")
        _mend(proxy)
        await pixied.publish("/a", "published 2")
        await pixied.queue(client, "/a", "queued 3")
        got = await receive(link, "queued 3")
        if "published 2" not in got.seen:
            got.texts += (await receive(link, "published 2")).texts
        assert [text for text in got.texts if text.startswith("q")] == [f"queued {one}" for one in "123"]
        assert [text for text in got.texts if text.startswith("p")] == [f"published {one}" for one in "12"]
        assert got.lost == 0
