"""Operations whose caller goes while the store carries them out: they are finished all the same.

A Pipeline stream that breaks gives up all that was begun on it; a unary call's deadline does so with one.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.distributed.gate import gate
from tests.distributed.outage import TIMEOUT
from tests.distributed.pair import Pair
from tests.engine.site import texts

from pixied_server.delivery.events import DetachReason
from pixied_server.delivery.watch import Filter
from pixied_server.engine.abc import EventKind
from pixied_server.engine.redis import RedisEngine


async def _give_up(pair: Pair, asked: str, call: Callable[[], Awaitable[object]]) -> None:
    """Make a call at `here`, and go when the store has done what was asked of it, before that is known."""
    with gate(pair.here, asked) as done:
        calling = asyncio.ensure_future(call())
        async with asyncio.timeout(TIMEOUT):
            await done.reached.wait()
        calling.cancel()
        done.open()
        with pytest.raises(asyncio.CancelledError):
            await calling
    await pair.settle()


@pytest.mark.parametrize("owner", ["here", "there", "nobody"])
async def test_a_session_that_was_to_end_ends(pair: Pair, owner: str) -> None:
    """Whoever has the client is told, nothing of it stays, and it is counted."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a", "/a/*")
    front = pair.there.front_end() if owner == "there" else pair.here.front_end()
    site = pair.there if owner == "there" else pair.here
    if owner != "nobody":
        await site.attach("ann", front)
    await pair.read(front)
    with pair.there.watchers.watching(Filter(kinds=frozenset({EventKind.CLIENT_DESTROYED}))) as watcher:
        await pair.there.engine.watch()
        await _give_up(pair, "destroy", lambda: pair.here.destroy("ann", "enough"))
        await pair.read(front)
        assert [(event.client_id, event.reason) for event in (await watcher.take(10)).events] == [
            (pair.here.ids["ann"], "enough")
        ]
    told = [] if owner == "nobody" else [("ann", DetachReason.DESTROYED, "enough")]
    assert front.detached == told
    held = await pair.there.engine.holdings()
    assert (held.clients, held.channels, held.subscriptions) == (0, 0, 0)
    assert pair.here.engine.counters.clients_destroyed == 1


async def test_a_session_that_was_begun_is_announced(pair: Pair) -> None:
    """Nobody knows its id, but watchers and counters know of it, as they will of its end."""
    with pair.there.watchers.watching(Filter(kinds=frozenset({EventKind.CLIENT_CREATED}))) as watcher:
        await pair.there.engine.watch()
        await _give_up(pair, "create", lambda: pair.here.create("ann"))
        assert len((await watcher.take(10)).events) == 1
    assert pair.here.engine.counters.clients_created == 1


@pytest.mark.parametrize("queued", [False, True], ids=["publish", "queue"])
async def test_messages_that_were_sent_are_announced_all(pair: Pair, *, queued: bool) -> None:
    """Of a large batch not a part: watchers and counters know of each message that the client gets."""
    many = [str(number) for number in range(400)]
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    with pair.there.watchers.watching(Filter(kinds=frozenset({EventKind.PUBLISHED}))) as watcher:
        await pair.there.engine.watch()
        if queued:
            await _give_up(pair, "queue", lambda: pair.here.queue_for("ann", *many))
        else:
            await _give_up(pair, "publish", lambda: pair.here.publish("/a", *many))
        assert len((await watcher.take(1_000)).events) == len(many)
    counters = pair.here.engine.counters
    assert (counters.queued if queued else counters.published) == len(many)
    assert texts(await pair.there.dequeue("ann")) == many


async def test_nothing_is_left_that_nobody_waits_for(pair: Pair) -> None:
    """Whoever gives up operations that are under way together waits until all of them have ended."""
    await pair.here.create("ann", "bob", "cy")
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    ended: list[str] = []

    async def destroyed(name: str) -> None:
        try:
            await pair.here.destroy(name)
        finally:
            ended.append(name)

    await _give_up(pair, "destroy", lambda: engine.together(map(destroyed, ("ann", "bob", "cy"))))
    assert sorted(ended) == ["ann", "bob", "cy"]
    assert engine.counters.clients_destroyed == 3
