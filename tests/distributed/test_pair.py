"""What one does, the other one's clients and watchers see."""

import asyncio

import pytest
from tests.distributed.gate import gate, watching
from tests.distributed.outage import TIMEOUT, until
from tests.distributed.pair import Pair, opened
from tests.engine.benches import Limits
from tests.engine.site import page, reason_of, texts

from pixied_server.core.message import Message
from pixied_server.delivery.events import DetachReason
from pixied_server.delivery.watch import Filter
from pixied_server.engine.abc import EventKind
from pixied_server.engine.redis import RedisEngine
from pixied_server.errors import EngineUnavailable, Reason


async def test_what_is_published_there_is_delivered_here(pair: Pair) -> None:
    """A live client gets each message once, in order, unmarked, from whichever pixied it was published on."""
    await pair.there.create("ann")
    await pair.there.subscribe("ann", "/a", "/**")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    for number in range(20):
        site = (pair.here, pair.there)[number % 2]
        await site.publish("/a", str(number))
    await pair.read(front)
    assert front.texts("ann") == [str(number) for number in range(20)]
    assert front.marked("ann") == []


async def test_queued_messages_find_a_client_wherever_it_is(pair: Pair) -> None:
    """QueueFor on the other pixied reaches a client that is attached here."""
    await pair.here.create("ann")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    await pair.there.queue_for("ann", "1", "2")
    await pair.read(front)
    assert front.texts("ann") == ["1", "2"]
    assert (await pair.there.look_at("ann")).pending == 0


async def test_subscriptions_change_from_afar(pair: Pair) -> None:
    """From Subscribe's answer on to Unsubscribe's, given by the other pixied, a client gets what is published."""
    await pair.here.create("ann")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    await pair.there.publish("/a", "before")
    await pair.there.subscribe("ann", "/a", "/b/**")
    await pair.there.publish("/a", "1")
    await pair.here.publish("/b/c", "2")
    await pair.read(front)
    await pair.there.unsubscribe("ann", "/a")
    await pair.settle()
    await pair.there.publish("/a", "after")
    await pair.there.publish("/b/c", "3")
    await pair.read(front)
    assert front.numbers("ann") == [1, 2, 3]


async def test_a_client_is_taken_over(pair: Pair) -> None:
    """The last attach wins, the loser is notified; what it confirmed does not come again, the rest comes marked."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    old, new = pair.here.front_end("old"), pair.there.front_end("new")
    await pair.here.attach("ann", old)
    await old.read()
    await pair.there.publish("/a", "1", "2")
    await pair.read(old)
    await pair.there.publish("/a", "3")
    await pair.settle()
    await old.read()
    await pair.there.attach("ann", new)
    await pair.read(new)
    await old.read()
    assert [(name, reason) for name, reason, _ in old.detached] == [("ann", DetachReason.TAKEN_OVER)]
    assert new.texts("ann") == new.marked("ann") == ["3"]
    await pair.here.publish("/a", "4")
    await pair.read(new)
    assert new.texts("ann") == ["3", "4"]
    assert (await pair.here.look_at("ann")).front_end == "new"


@pytest.mark.parametrize("held", [True, False], ids=["owned", "released"])
@pytest.mark.parametrize(("back", "left"), [(0, []), (2, ["5", "6"]), (6, None)], ids=["last", "earlier", "forgotten"])
async def test_a_client_confirms_by_a_cursor_of_the_other(
    pair: Pair, *, held: bool, back: int, left: list[str] | None
) -> None:
    """A cursor that one pixied has handed out means the same at the other, or is forgotten and confirms nothing."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    old, new = pair.here.front_end(), pair.there.front_end()
    await pair.here.attach("ann", old, explicit=True)
    await old.read()
    for text in "0123456":
        await pair.here.publish("/a", text)
        await pair.settle()
        await old.read()
    cursors = [batch.cursor for delivery in old.deliveries for batch in delivery.batches]
    assert cursors == sorted(set(cursors))
    assert cursors[-1] < 1 << 53
    if not held:
        await old.lose()
    await pair.there.attach("ann", new, explicit=True, cursor=cursors[-1 - back])
    await pair.read(new)
    assert new.texts("ann") == new.marked("ann") == ([*"0123456"] if left is None else left)


@pytest.mark.parametrize("cursor", [5, 1 << 52])
async def test_a_cursor_that_nobody_can_have_handed_out_is_refused(pair: Pair, cursor: int) -> None:
    """It is FIELD_INVALID, and the owner keeps the client."""
    await pair.here.create("ann")
    front = pair.here.front_end("front")
    await pair.here.attach("ann", front)
    never = pair.there.front_end()
    await pair.there.attach("ann", never, cursor=cursor)
    await never.read()
    assert never.failed["ann"].reason is Reason.FIELD_INVALID
    assert (await pair.there.look_at("ann")).front_end == "front"


async def test_a_client_is_destroyed_from_afar(pair: Pair) -> None:
    """DestroyClient on any pixied ends the session everywhere, and says why."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    await pair.there.destroy("ann", "enough")
    await pair.read(front)
    assert front.detached == [("ann", DetachReason.DESTROYED, "enough")]
    assert await reason_of(pair.here.look_at("ann")) is Reason.CLIENT_UNKNOWN
    assert (await pair.here.engine.holdings()).channels == 0


async def test_a_session_ends_once(pair: Pair) -> None:
    """However many look, a session that is over is ended by one of them."""
    await pair.here.create("ann", "bob", timeout=1.0)
    pair.here.bench.clock.advance(1.1)
    for site in (pair.here, pair.there):
        await site.elapse(0.0)
    expired = [site.engine.counters.clients_expired for site in (pair.here, pair.there)]
    assert sum(expired) == 2
    assert (await pair.there.engine.holdings()).clients == 0


async def test_sessions_are_swept_at_the_next_deadline(pair: Pair) -> None:
    """At the next deadline that is known; or when one that was not known yet could be over, after 140 ms."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    # Less what looking took.
    assert await engine.upkeep.end_sessions() <= 0.14
    await pair.there.create("ann", timeout=60.0)
    assert await engine.upkeep.end_sessions() <= 0.14
    await pair.there.create("bob", timeout=0.1)
    assert await engine.upkeep.end_sessions() <= 0.1001
    pair.here.bench.clock.advance(0.0999)
    assert await engine.upkeep.end_sessions() == pytest.approx(0.04), "not many times before one is over"
    assert await pair.here.lives("bob")
    pair.here.bench.clock.advance(0.0001)
    await engine.upkeep.end_sessions()
    assert engine.counters.clients_expired == 1


async def test_ends_of_sessions_are_announced_though_a_partition_does_not_answer(pair: Pair) -> None:
    """Their owners are notified at once: nobody else will do it."""
    await pair.here.create("ann", timeout=1.0)
    front = pair.here.front_end()
    await pair.here.attach("ann", front, expires=True)
    await pair.read(front)
    pair.here.bench.clock.advance(1.1)
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    home = engine.process.home(pair.here.ids["ann"])
    away = next(one for one in engine.process.partitions if one is not home)

    async def refuse(*_: object) -> list[object]:
        raise EngineUnavailable("it is away")

    away.ask = lambda *_: asyncio.ensure_future(refuse())  # type: ignore[method-assign]
    with pytest.raises(EngineUnavailable):
        await engine.upkeep.end_sessions()
    del away.ask
    await front.read()
    assert front.detached == [("ann", DetachReason.EXPIRED, "timed out")]


async def test_events_are_seen_everywhere(pair: Pair) -> None:
    """A watcher sees what happens on either pixied, each event once."""
    with pair.here.watchers.watching(Filter()) as watcher:
        await pair.here.engine.watch()
        await pair.there.create("ann")
        await pair.there.subscribe("ann", "/a")
        await pair.settle()
        await pair.here.publish("/a", "1")
        await pair.there.destroy("ann")
        await pair.settle()
        events = (await watcher.take(100)).events
    assert [one.kind for one in events] == [
        EventKind.CLIENT_CREATED,
        EventKind.CHANNEL_CREATED,
        EventKind.SUBSCRIBED,
        EventKind.PUBLISHED,
        EventKind.UNSUBSCRIBED,
        EventKind.CHANNEL_DESTROYED,
        EventKind.CLIENT_DESTROYED,
    ]


async def test_only_what_is_watched_for_is_announced(pair: Pair) -> None:
    """Events of kinds that nobody wants cost the other pixied nothing; the last watcher's end is noticed."""
    with pair.here.watchers.watching(Filter(kinds=frozenset({EventKind.CLIENT_DESTROYED}))) as watcher:
        await pair.here.engine.watch()
        assert [kind for kind in EventKind if pair.there.engine.watched(kind)] == [EventKind.CLIENT_DESTROYED]
        await pair.there.create("ann")
        await pair.there.destroy("ann")
        await pair.settle()
        assert [one.kind for one in (await watcher.take(100)).events] == [EventKind.CLIENT_DESTROYED]
    await pair.beat()
    assert not any(pair.there.engine.watched(kind) for kind in EventKind)


async def test_a_key_is_known_everywhere(pair: Pair) -> None:
    """A publish that is retried on the other pixied is done once."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    keyed = [Message("/a", b"1", key="k")]
    assert not (await pair.here.engine.publish(keyed))[0].duplicate
    assert (await pair.there.engine.publish(keyed))[0].duplicate
    assert texts(await pair.there.dequeue("ann")) == ["1"]
    other = pair.there.engine.publish([Message("/a", b"2", key="k")])
    assert await reason_of(other) is Reason.IDEMPOTENCY_KEY_REUSED


async def test_a_request_that_is_refused_takes_no_key_from_another(pair: Pair) -> None:
    """What was published meanwhile with a key that it had reserved, and gives back, is still known by that key."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    await pair.here.publish("/a", "0")
    await pair.here.engine.publish([Message("/a", b"1", key="k")])
    for number in range(20):
        fresh = Message("/a", b"2", key=f"fresh {number}")
        refused, published = await asyncio.gather(
            reason_of(pair.here.engine.publish([fresh, Message("/a", b"3", key="k")])),
            pair.there.engine.publish([fresh]),
        )
        assert (refused, published[0].duplicate) == (Reason.IDEMPOTENCY_KEY_REUSED, False)
        assert (await pair.here.engine.publish([fresh]))[0].duplicate
    assert len(texts(await pair.there.dequeue("ann"))) == 22


async def test_keys_of_a_publish_that_was_given_up_are_free(pair: Pair) -> None:
    """Its caller has gone while they were being reserved: they stand for nothing."""
    with gate(pair.here, "reserve_key") as reserved:
        publishing = asyncio.create_task(pair.here.engine.publish(_batch("1")))
        async with asyncio.timeout(TIMEOUT):
            await reserved.reached.wait()
        await _cancelled(publishing)
    await pair.settle()
    assert not any(one.duplicate for one in await pair.there.engine.publish(_batch("2")))


@pytest.mark.parametrize("queued", [False, True])
async def test_keys_of_many_messages_are_reserved_together(pair: Pair, *, queued: bool) -> None:
    """A large batch does not wait for the store once for each message, and others' publishes behind it do not."""
    await pair.here.create("ann")
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    messages = [Message("/a", b"1", key=str(number)) for number in range(100)]
    with gate(pair.here, "reserve_key") as reserved:
        publishing = asyncio.create_task(
            engine.queue_for(pair.here.ids["ann"], messages) if queued else engine.publish(messages)
        )
        await reserved.reached.wait()
        await until(lambda: not engine.busy)
        assert reserved.held == 100
        reserved.open()
        await publishing


async def test_keys_of_a_publish_that_was_given_up_in_its_queue_are_free(pair: Pair) -> None:
    """Its caller has gone while an earlier publish, which goes first, waited for its keys."""
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    with gate(pair.here, "reserve_key", most=1) as reserved, watching(pair.here, "reserve_key") as asked:
        first = asyncio.create_task(engine.publish([Message("/a", b"0", key=key) for key in ("earlier", "still")]))
        async with asyncio.timeout(TIMEOUT):
            await reserved.reached.wait()
        publishing = asyncio.create_task(engine.publish(_batch("1")))
        await until(lambda: len(asked) == 4 and not engine.busy)
        await _cancelled(publishing)
        reserved.open()
        await first
    await pair.settle()
    assert not any(one.duplicate for one in await pair.there.engine.publish(_batch("2")))


def _batch(text: str) -> list[Message]:
    return [Message("/a", text.encode(), key=key) for key in ("first", "second")]


async def _cancelled(task: "asyncio.Task[object]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_publish_that_comes_too_fast_takes_no_key(store_url: str) -> None:
    """Its keys stand for nothing."""
    async with opened(store_url, Limits(publishes_per_second=1.0)) as pair:
        await pair.here.publish("/a", "0")
        batch = [Message("/a", b"1", key="first"), Message("/a", b"2", key="second")]
        assert await reason_of(pair.here.engine.publish(batch)) is Reason.RATE_LIMITED
        pair.here.bench.clock.advance(10.0)
        assert not (await pair.here.engine.publish([Message("/a", b"3", key="first")]))[0].duplicate


async def test_limits_are_of_all(store_url: str) -> None:
    """Whichever pixied they were reached by, and whichever has made room since."""
    async with opened(store_url, Limits(clients=2, namespaces=1)) as pair:
        await pair.here.create("ann")
        await pair.there.create("bob")
        # What a process has seen of the others is as old as its last answers.
        await pair.here.engine.holdings()
        assert await reason_of(pair.here.create("cid")) is Reason.LIMIT_CLIENTS
        await pair.there.destroy("bob")
        await pair.here.create("cid")
        namespace = await pair.here.engine.generate_namespace(8)
        assert await reason_of(pair.here.engine.generate_namespace(8)) is Reason.LIMIT_NAMESPACES
        await pair.there.engine.release_namespace(namespace)
        await pair.here.engine.generate_namespace(8)


async def test_lists_are_of_all(pair: Pair) -> None:
    """Either lists the clients and channels of both."""
    await pair.here.create("ann")
    await pair.there.create("bob")
    await pair.here.subscribe("ann", "/a")
    await pair.there.subscribe("bob", "/a", "/b")
    for site in (pair.here, pair.there):
        assert (await site.engine.subscribers_of("/a", page())).items == sorted(site.ids.values())
        assert [one.pattern for one in (await site.engine.list_channels(page(), pattern="")).items] == ["/a", "/b"]


@pytest.mark.parametrize("noticed", [True, False])
async def test_the_clients_of_a_dead_pixied_go_on_at_the_other(pair: Pair, *, noticed: bool) -> None:
    """What its links had confirmed, as it last wrote down, does not come again; what they had not comes, marked."""
    await pair.here.create("ann", "bob", timeout=5.0)
    await pair.here.subscribe("ann", "/a")
    await pair.here.subscribe("bob", "/**")
    old = pair.here.front_end("old")
    for name in ("ann", "bob"):
        await pair.here.attach(name, old)
    await pair.read(old)
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "1", "2")
    await pair.read(old)
    await pair.here.elapse(0.0)
    await pair.there.publish("/a", "3")
    await pair.settle()
    await old.read()
    await pair.die(pair.here)
    await pair.there.publish("/a", "4")
    if noticed:
        await pair.reap(pair.there, pair.here)
        assert (await pair.there.look_at("ann")).front_end == ""
    new = pair.there.front_end("new")
    for name in ("ann", "bob"):
        await pair.there.attach(name, new)
    await new.read()
    for name in ("ann", "bob"):
        assert new.texts(name) == ["3", "4"]
        assert "3" in new.marked(name)
    await new.lose()
    await pair.there.elapse(5.1)
    assert not await pair.there.lives("ann")


async def test_what_a_client_read_and_its_link_had_not_confirmed_comes_again(pair: Pair) -> None:
    """A link's progress counts for a client only when that has confirmed what the client had to read first."""
    await pair.here.create("ann", "late")
    await pair.here.subscribe("ann", "/a")
    await pair.here.subscribe("late", "/a")
    old = pair.here.front_end("old")
    await pair.here.attach("ann", old)
    await pair.read(old)
    await pair.there.publish("/a", "1")
    await pair.read(old)
    await pair.here.attach("late", old)
    await pair.settle()
    await old.read()
    assert old.texts("late") == ["1"]
    await pair.here.elapse(0.0)
    await pair.die(pair.here)
    new = pair.there.front_end("new")
    await pair.there.attach("late", new)
    await new.read()
    assert new.texts("late") == new.marked("late") == ["1"]
