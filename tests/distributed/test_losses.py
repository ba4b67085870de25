"""Losses that are announced, and none that is not one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs
from tests.distributed.gate import gate
from tests.distributed.outage import until
from tests.distributed.pair import Pair, opened
from tests.engine.benches import Limits

from pixied_server.engine.redis import RedisEngine
from pixied_server.errors import EngineUnavailable


async def test_what_a_client_has_confirmed_of_its_inbox_is_never_lost(store_url: str) -> None:
    """An inbox that outgrows its limit has lost what goes then, and not what went before because it was confirmed."""
    async with opened(store_url, Limits(log_messages=2)) as pair:
        await pair.here.create("ann")
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        for number in range(4):
            await pair.there.queue_for("ann", str(number))
            await pair.settle()
            await front.drain()
        await front.lose()
        await pair.there.queue_for("ann", *map(str, range(4, 7)))
        later = pair.there.front_end()
        await pair.there.attach("ann", later)
        await pair.read(later)
        assert later.texts("ann") == ["5", "6"]
        assert later.lost["ann"] == {"": 1}


@asynccontextmanager
async def _unnotified(pair: Pair) -> AsyncIterator[None]:
    """`here` is never notified of what happens in the context; after it, it receives again."""
    pair.store.silence()
    yield
    await pair.cut()


async def _misses(pair: Pair, messages: int = 5, *, gone: bool = False) -> None:
    """`here` is notified of none of these messages of /a: it gets what is left of them when it reads the log."""
    async with _unnotified(pair):
        await pair.there.publish("/a", *map(str, range(messages)))
        if gone:
            await pair.there.engine.process.home("/a").shrink(1 << 30, 1 << 53)  # type: ignore[attr-defined]
    await pair.settle()


async def test_a_loss_that_was_not_announced_yet_is_announced_by_the_next_link(store_url: str) -> None:
    """What is confirmed before a link announces a loss does not confirm the loss."""
    async with opened(store_url, Limits(log_messages=2)) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        old, new = pair.here.front_end("old"), pair.there.front_end("new")
        await pair.here.attach("ann", old)
        await pair.read(old)
        await _misses(pair)
        await old.ack()
        await pair.there.attach("ann", new)
        await pair.read(new)
        assert new.texts("ann") == ["3", "4"]
        assert new.lost["ann"] == {"/a": 3}


async def test_a_client_that_reads_by_itself_learns_what_its_link_has_yet_to_announce(store_url: str) -> None:
    """A loss that waits for the next delivery is announced, though the client has left the live messages by then."""
    async with opened(store_url, Limits(log_messages=2), outbox=1) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.read(front)
        await _misses(pair)
        await pair.there.queue_for("ann", "own")
        await pair.read(front)
        assert sorted(front.texts("ann")) == ["3", "4", "own"]
        assert front.lost["ann"] == {"/a": 3}


async def test_a_loss_that_a_link_reads_is_announced_once(store_url: str) -> None:
    """A link that is behind finds what a log has lost when it reads it: that it was missed is not announced as well."""
    async with opened(store_url, Limits(log_messages=2), outbox=1) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.read(front)
        await pair.there.publish("/a", "kept", "gone")
        await pair.settle()
        await _misses(pair)
        await pair.read(front)
        assert front.texts("ann") == ["kept", "3", "4"]
        assert front.lost["ann"] == {"/a": 4}


async def test_a_loss_is_announced_though_reading_what_was_missed_fails_at_first(store_url: str) -> None:
    """What was lost shows with the first messages that are read; the store does not answer when it comes to others."""
    async with opened(store_url, Limits(log_messages=600)) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.there.publish("/a", "first")
        await pair.read(front)
        home = pair.here.engine.process.home("/a")  # type: ignore[attr-defined]
        asked, reads = home.ask, []

        def failing(name: str, *arguments: Any) -> "asyncio.Future[list[Any]]":
            if name == "read":
                reads.append(name)
                if len(reads) == 2:
                    refused: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
                    refused.set_exception(EngineUnavailable("it does not answer"))
                    return refused
            return asked(name, *arguments)  # type: ignore[no-any-return]

        with patch.object(home, "ask", failing):
            await _misses(pair, 1_000)
        await pair.read(front)
        assert len(reads) > 2
        first, *rest = front.texts("ann")
        assert (first, rest[-1]) == ("first", "999")
        assert front.lost["ann"] == {"/a": 1_000 - len(rest)}


@pytest.mark.parametrize("joined", [True, False], ids=["live", "behind"])
async def test_what_an_inbox_has_lost_unannounced_is_a_gap(store_url: str, *, joined: bool) -> None:
    """Queued messages that were not received, and are gone by the time they are read, are a gap."""
    async with opened(store_url, Limits(log_messages=2)) as pair:
        await pair.here.create("ann")
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        if joined:
            await pair.read(front)
        async with _unnotified(pair):
            await pair.there.queue_for("ann", *map(str, range(5)))
        await pair.read(front)
        assert front.texts("ann") == ["3", "4"]
        assert front.lost["ann"] == {"": 3}
        await pair.there.queue_for("ann", "5")
        await pair.read(front)
        assert front.texts("ann") == ["3", "4", "5"]
        assert front.lost["ann"] == {"": 3}


async def test_what_was_lost_is_missed_once(store_url: str) -> None:
    """Once it is told that all messages are gone, what comes next follows them: nothing is read again for it."""
    async with opened(store_url) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.there.publish("/a", "first")
        await pair.read(front)
        await _misses(pair, gone=True)
        with capture_logs() as lines:
            await pair.there.publish("/a", "next")
            await pair.read(front)
        assert front.texts("ann") == ["first", "next"]
        assert front.lost["ann"] == {"/a": 5}
        assert not lines


@pytest.mark.parametrize("live", [True, False], ids=["live", "behind"])
async def test_what_goes_before_it_is_read_is_a_gap_though_younger_messages_went_too(
    store_url: str, *, live: bool
) -> None:
    """Announced messages that wait to be read go together with others that were not announced yet: they are a gap."""
    async with opened(store_url, Limits(log_messages=10), outbox=1) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        front = pair.here.front_end()
        if live:
            await pair.here.attach("ann", front)
            await pair.read(front)
        await pair.there.publish("/a", *map(str, range(10)))
        await pair.settle()
        if not live:
            await pair.here.attach("ann", front)
        pair.store.silence()
        await pair.there.publish("/a", *map(str, range(10, 200)))
        while front.link.ready:
            front.send(await front.link.take())
        front.receive()
        pair.store.resume()
        await pair.read(front)
        assert len(front.texts("ann")) + front.lost["ann"]["/a"] == 200
        await pair.there.publish("/a", "200")
        await pair.read(front)
        assert len(front.texts("ann")) + front.lost["ann"]["/a"] == 201


async def test_what_goes_while_missed_messages_are_read_is_a_gap(store_url: str) -> None:
    """Messages that were not received, and go together with younger ones that are received, are a gap."""
    async with opened(store_url, Limits(log_messages=10)) as pair:
        await pair.here.create("ann")
        await pair.here.subscribe("ann", "/a")
        front = pair.here.front_end()
        await pair.here.attach("ann", front)
        await pair.there.publish("/a", "0")
        await pair.read(front)
        pair.store.silence()
        await pair.there.publish("/a", *map(str, range(1, 10)))
        engine = pair.here.engine
        assert isinstance(engine, RedisEngine)
        with gate(pair.here, "head") as head:
            pair.store.cut()
            await until(lambda: head.held == len(engine.head))
            # What comes from here on is received, and is beyond what will be read.
            await pair.there.publish("/a", *map(str, range(10, 200)))
            began = monotonic()
            engine.subscriber.probe()
            await until(lambda: not engine.subscriber.silent(monotonic(), monotonic() - began))
            head.open()
            await until(lambda: not engine.trouble)
        await pair.read(front)
        assert len(front.texts("ann")) + front.lost["ann"]["/a"] == 200
