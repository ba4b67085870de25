"""What is long gives others a turn by time, however few or many things it is; and what they see in between.

The clock of these turns goes on when it is looked at, which is done once for each thing: so after four things a turn is
over. The memory engine alone: an engine that waits for a store gives turns whenever it does.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.engine.benches import Limits, MemoryBench
from tests.engine.site import Site
from tests.support.turns import at_once, looking_on, stepping, until

from pixied_server.core.log import Entry, Log
from pixied_server.core.message import Message
from pixied_server.core.paging import PageRequest
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.watch import Watchers
from pixied_server.engine.memory import MemoryEngine
from pixied_server.errors import ClientUnknown, IdempotencyKeyReused

# So many things are done at most from one go of others to the next: a turn's, and those of one that had waited.
MOST = 10


@asynccontextmanager
async def running(bench: MemoryBench) -> AsyncIterator[None]:
    """An engine that does what time demands."""
    task = asyncio.create_task(bench.engine.run())
    yield
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
def bench() -> MemoryBench:
    """An engine whose turns are over after four things."""
    bench = MemoryBench(Limits(clients=2_000), stepping())
    Hub(bench.engine, Watchers(10), bench.clock)
    return bench


@pytest.fixture
def site(bench: MemoryBench) -> Site:
    """Clients and messages of it."""
    return Site(bench)


def messages(*numbers: int, body: str = "1", keyed: bool = False) -> list[Message]:
    """Messages of one request."""
    return [Message("/a", body.encode(), id=str(number), key=str(number) if keyed else "") for number in numbers]


async def taken(site: Site, name: str) -> list[int]:
    """The numbers of the messages that a client gets now."""
    return [int(entry.message.id) for entry in (await site.dequeue(name)).entries]


async def some_ids(engine: MemoryEngine, count: int, *patterns: str) -> list[str]:
    """So many clients that subscribe to these patterns."""
    ids = [(await engine.create_client(60.0, {})).client_id for _ in range(count)]
    for client_id in ids:
        await engine.subscribe(client_id, patterns)
    return ids


async def test_operations_that_are_done_together(bench: MemoryBench) -> None:
    """Each may be long."""
    async with looking_on(lambda: bench.engine.counters.clients_created) as others:
        await bench.engine.together(bench.engine.create_client(60.0, {}) for _ in range(100))
    assert 0 < others.most <= MOST


async def test_sessions_that_end_at_once(bench: MemoryBench, site: Site) -> None:
    """One after the other ends, until the turn is over."""
    for _ in range(200):
        await site.create("one of many", timeout=1.0)
    bench.clock.advance(2.0)
    async with running(bench), looking_on(lambda: bench.engine.counters.clients_expired) as others:
        await until(lambda: bench.engine.counters.clients_expired == 200)
    assert 0 < others.most <= MOST


async def test_messages_that_get_too_old_at_once(bench: MemoryBench, site: Site) -> None:
    """Sweeping goes on in the next turn, not a second later."""
    await site.create("ann", timeout=36_000.0)
    await site.subscribe("ann", "/a")
    await bench.engine.publish(messages(*range(200)))
    bench.clock.advance(5_000.0)

    def gone() -> int:
        return 200 - at_once(bench.engine.holdings()).messages

    async with running(bench), looking_on(gone) as others:
        await until(lambda: gone() == 200)
    assert 0 < others.most <= MOST


@pytest.mark.parametrize("pattern", ["/a", "/*", "/**"])
async def test_a_list_of_subscribers(bench: MemoryBench, pattern: str) -> None:
    """Others have a go for each few of the clients; who is there all the time is listed, each once."""
    ids = await some_ids(bench.engine, 100, "/a", "/b")
    come_and_gone = await some_ids(bench.engine, 20, "/a")
    asked = asyncio.create_task(bench.engine.subscribers_of(pattern, PageRequest.parse("q", 200, "")))
    async with looking_on() as others:
        for client_id in come_and_gone:
            await bench.engine.destroy_client(client_id, "")
        await some_ids(bench.engine, 3, "/a")
        page = await asked
    assert others.gone >= 100 // MOST
    assert set(ids) <= set(page.items)
    assert page.items == sorted(set(page.items))
    assert page.next_token == ""


@pytest.mark.parametrize("pattern", ["", "/a"])
async def test_a_list_of_clients(bench: MemoryBench, pattern: str) -> None:
    """Those that end meanwhile are left out, wherever it is."""
    ids = await some_ids(bench.engine, 200, "/a")
    asked = asyncio.create_task(
        bench.engine.list_clients(PageRequest.parse("q", 150, ""), pattern=pattern, front_end="")
    )
    async with looking_on() as others:
        while not asked.done():
            await asyncio.sleep(0)
            if len(ids) > 20:
                await bench.engine.destroy_client(ids.pop(), "")
    page = asked.result()
    assert others.gone >= 200 // MOST
    listed = [client.client_id for client in page.items]
    assert set(ids) & set(listed) == {one for one in ids if one <= max(listed)}
    assert listed == sorted(listed)
    assert page.next_token


@pytest.mark.parametrize("pattern", ["", "/a/*", "/none/*"])
async def test_a_list_of_channels(bench: MemoryBench, pattern: str) -> None:
    """Also where none belongs to it."""
    client_id, *_ = await some_ids(bench.engine, 1, *(f"/a/{number}" for number in range(100)))
    asked = asyncio.create_task(bench.engine.list_channels(PageRequest.parse("q", 200, ""), pattern=pattern))
    async with looking_on() as others:
        await bench.engine.unsubscribe(client_id, ["/a/7"])
        page = await asked
    assert others.gone >= 100 // MOST
    names = {channel.pattern for channel in page.items}
    assert names - {"/a/7"} == (set() if pattern == "/none/*" else {f"/a/{one}" for one in range(100)} - {"/a/7"})


async def test_a_list_of_nothing_new_is_a_page_without_more(bench: MemoryBench) -> None:
    """A page ends at its size, and the next one goes on there."""
    ids = sorted(await some_ids(bench.engine, 50, "/a"))
    first = await bench.engine.subscribers_of("/a", PageRequest.parse("q", 25, ""))
    rest = await bench.engine.subscribers_of("/a", PageRequest.parse("q", 25, first.next_token))
    assert (first.items, rest.items, rest.next_token) == (ids[:25], ids[25:], "")


async def test_pings_of_many(bench: MemoryBench) -> None:
    """Each is done by itself."""
    ids = await some_ids(bench.engine, 100)
    async with looking_on() as others:
        assert set(await bench.engine.ping_clients(ids)) == set(ids)
    assert others.gone >= 100 // MOST


async def test_messages_of_one_request(bench: MemoryBench, site: Site) -> None:
    """Others go on between them, and see the first ones before the last."""
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    await site.subscribe("bob", "/a")
    async with looking_on(lambda: bench.engine.counters.published) as others:
        await bench.engine.publish(messages(*range(100)))
    assert 0 < others.most <= MOST
    assert await taken(site, "ann") == list(range(100))
    async with looking_on(lambda: bench.engine.counters.queued) as others:
        await bench.engine.queue_for(site.ids["bob"], messages(*range(100, 200)))
    assert 0 < others.most <= MOST
    assert await taken(site, "bob") == list(range(200))


@pytest.mark.parametrize("queued", [False, True])
async def test_all_messages_of_a_request_go_out_although_its_caller_goes(
    bench: MemoryBench, site: Site, *, queued: bool
) -> None:
    """Once the first one did."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    some = messages(*range(100))
    engine = bench.engine
    asked = asyncio.ensure_future(engine.queue_for(site.ids["ann"], some) if queued else engine.publish(some))
    await until(lambda: engine.counters.queued + engine.counters.published > 0)
    asked.cancel()
    await asyncio.wait([asked])
    assert asked.cancelled()
    assert await taken(site, "ann") == list(range(100))


async def outcomes(engine: MemoryEngine, *requests: Sequence[Message]) -> list[list[bool] | BaseException]:
    """Which messages of requests that come at once were published before."""
    asked = await asyncio.gather(*(engine.publish(request) for request in requests), return_exceptions=True)
    return [one if isinstance(one, BaseException) else [outcome.duplicate for outcome in one] for one in asked]


async def test_a_request_that_comes_again_before_it_is_done(bench: MemoryBench, site: Site) -> None:
    """Each message is published once, in order, by whichever of the two comes to it first, and is told to both."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    some = messages(*range(50), keyed=True)
    one, other = await outcomes(bench.engine, some, some)
    assert not isinstance(one, BaseException)
    assert not isinstance(other, BaseException)
    assert all(a != b for a, b in zip(one, other, strict=True))
    assert await taken(site, "ann") == list(range(50))
    assert bench.engine.counters.published == 50


async def test_a_key_that_is_used_again_before_its_message_is_out(bench: MemoryBench, site: Site) -> None:
    """For another message: refused, as it is afterwards."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    _, refused = await outcomes(
        bench.engine, messages(*range(50), keyed=True), messages(100, 49, body="another", keyed=True)
    )
    assert isinstance(refused, IdempotencyKeyReused)
    assert refused.field == "messages[1].idempotency_key"
    assert await taken(site, "ann") == list(range(50))


async def test_a_session_that_ends_while_messages_are_queued_for_it(bench: MemoryBench, site: Site) -> None:
    """The request is refused as one that came later, and nothing of it is left."""
    await site.create("ann")
    asked = asyncio.ensure_future(bench.engine.queue_for(site.ids["ann"], messages(*range(100))))
    await until(lambda: bench.engine.counters.queued > 0)
    await site.destroy("ann")
    with pytest.raises(ClientUnknown):
        await asked
    assert bench.engine.counters.queued < 100
    assert (await bench.engine.holdings()).messages == 0


async def test_a_message_alone_gives_no_turn(bench: MemoryBench, site: Site) -> None:
    """What most publishes are takes nothing of this."""
    await site.create("ann")
    await site.subscribe("ann", "/a")
    async with looking_on() as others:
        for number in range(50):
            await bench.engine.publish(messages(number))
        assert others.gone == 0
    assert await taken(site, "ann") == list(range(50))


@pytest.mark.parametrize("end", ["destroy", "unsubscribe"])
async def test_what_a_log_holds_that_nobody_has_any_more(
    bench: MemoryBench, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """No more than a thousand messages go at once, all others in turns; whoever asks what there is finds nothing."""
    site = Site(bench)
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    await site.subscribe("bob", "/b")
    await bench.engine.publish([Message("/b", b"1")])
    await bench.engine.publish(messages(*range(1_100)))
    dropped = 0
    drop = Log.drop_oldest

    def counted(log: Log) -> Entry:
        nonlocal dropped
        dropped += 1
        return drop(log)

    monkeypatch.setattr(Log, "drop_oldest", counted)
    if end == "destroy":
        await site.destroy("ann")
    else:
        await site.unsubscribe("ann", "/a")
    assert dropped <= 1_000
    async with looking_on(lambda: dropped) as others:
        assert (await bench.engine.holdings()).messages == 1
    assert 0 < others.most <= MOST
    assert [one.message.channel for one in (await site.dequeue("bob")).entries] == ["/b"]


async def test_memory_that_belongs_to_nobody_makes_room_first() -> None:
    """Before anything is lost that somebody may still read; and it goes by itself."""
    bench = MemoryBench(Limits(total_bytes=Message("/a", b"1", id="1000").size * 1_500), stepping())
    site = Site(bench)
    await site.create("ann", "bob")
    await site.subscribe("bob", "/b")
    await bench.engine.publish([Message("/b", b"1")])
    await site.subscribe("ann", "/a")
    await bench.engine.publish(messages(*range(1_400)))
    await site.destroy("ann")
    await site.subscribe("bob", "/a")
    await bench.engine.publish(messages(*range(1_300)))
    taken = await site.dequeue("bob")
    assert (len(taken.entries), taken.losses) == (1_301, [])


async def test_places_of_many_logs_without_messages() -> None:
    """They are left out in turns, and no log is forgotten that gets messages meanwhile."""
    bench = MemoryBench(Limits(clients=3_000, log_age=100.0), stepping())
    site = Site(bench)
    ids = await some_ids(bench.engine, 1_300)
    for client_id in ids:
        await bench.engine.queue_for(client_id, messages(1))
    for client_id in ids[:1_200]:
        await site.engine.destroy_client(client_id, "")
    bench.clock.advance(2.0)
    async with running(bench), looking_on() as others:
        await until(lambda: others.gone > 50)
        for client_id in ids[1_200:]:
            await bench.engine.queue_for(client_id, messages(2))
        await until(lambda: others.gone > 800)
    assert (await bench.engine.holdings()).messages == 200
    bench.clock.advance(101.0)
    async with running(bench):
        async with asyncio.timeout(60):
            while (await bench.engine.holdings()).messages:  # noqa: ASYNC110 - the engine does it by itself
                await asyncio.sleep(0)
