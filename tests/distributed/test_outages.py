"""What happens when the store is away, forgets, or notifies nobody."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import count
from time import monotonic
from unittest.mock import patch

import pytest
from tests.distributed.gate import gate, refusing, watching
from tests.distributed.outage import TIMEOUT, until
from tests.distributed.pair import Pair, opened
from tests.engine.site import Site, reason_of, texts
from tests.support.redis_servers import single

from pixied_server.core.log import Entry
from pixied_server.delivery.events import DetachReason
from pixied_server.engine.redis import RedisEngine
from pixied_server.errors import EngineUnavailable, Reason


async def restored(pair: Pair) -> None:
    """Wait until the store answers both sites, and both receive again."""
    for site in (pair.here, pair.there):
        async with asyncio.timeout(TIMEOUT):
            for _ in count():
                if await reason_of(site.engine.holdings()) is None:
                    break
        await until(lambda engine=site.engine: not engine.trouble)  # type: ignore[misc]


async def test_a_store_that_is_started_again_has_lost_nothing() -> None:
    """Operations are refused meanwhile; then live clients get what they missed and what comes, once and in order."""
    with single(aof=True) as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann")
            await pair.here.subscribe("ann", "/a")
            front = pair.here.front_end()
            await pair.here.attach("ann", front)
            await pair.read(front)
            await pair.there.publish("/a", "1")
            await pair.read(front)
            await pair.there.publish("/a", "2")
            await asyncio.to_thread(server.kill)
            assert await reason_of(pair.there.publish("/a", "x")) is Reason.ENGINE_UNAVAILABLE
            assert await reason_of(pair.here.look_at("ann")) is Reason.ENGINE_UNAVAILABLE
            assert pair.here.engine.trouble
            await asyncio.to_thread(server.start)
            await restored(pair)
            await pair.there.publish("/a", "3")
            await pair.there.queue_for("ann", "4")
            await pair.read(front)
            assert not pair.here.engine.trouble
            assert [text for text in front.texts("ann") if text != "x"] == ["1", "2", "3", "4"]
            assert not front.lost


async def test_a_channel_that_began_anew_has_lost_nothing_of_its_former_life() -> None:
    """What a pixied knows of a channel that ended with its last subscriber says nothing of one of the same name."""
    with single(aof=True) as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann")
            for pattern in ("/a", "/a/*"):
                await pair.here.subscribe("ann", pattern)
            for channel in ("/a", "/a/b"):
                await pair.here.publish(channel, *map(str, range(5)))
            await pair.here.unsubscribe("ann", "/a", "/a/*")
            await pair.there.subscribe("ann", "/a", "/a/*")
            await pair.there.publish("/a", "new")
            await pair.there.publish("/a/b", "new too")
            # Of each partition, the one that knew the former life is the one that knows of the latest message.
            await pair.here.create("bob")
            for number in range(16):
                await pair.here.subscribe("bob", f"/other/{number}")
                await pair.here.publish(f"/other/{number}", "1")
            await asyncio.to_thread(server.restart)
            await restored(pair)
            taken = await pair.there.dequeue("ann")
            assert (sorted(texts(taken)), taken.losses) == (["new", "new too"], [])


@pytest.mark.parametrize("began_anew", [False, True], ids=["one life", "two lives"])
async def test_a_gap_in_a_channel_of_which_nothing_was_received_is_as_large_as_it_is(*, began_anew: bool) -> None:
    """Offsets begin anywhere: what a pixied does not know of a channel, or of its life before, is not missing."""
    with single() as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann")
            await pair.here.subscribe("ann", "/a")
            front = pair.here.front_end()
            await pair.here.attach("ann", front)
            await pair.read(front)
            if began_anew:
                await pair.there.publish("/a", "old")
                await pair.read(front)
            pair.store.silence()
            if began_anew:
                home = pair.there.engine.process.partitions[pair.there.engine.process.layout.of("/a")]  # type: ignore[attr-defined]
                await home.part("/a", pair.there.ids["ann"], wild=False)
                await home.join("/a", pair.there.ids["ann"], wild=False)
            await pair.there.publish("/a", *"01234")
            for partition in pair.there.engine.process.partitions:  # type: ignore[attr-defined]
                await partition.shrink(30, 1 << 53)
            await pair.cut()
            await pair.read(front)
            missing = front.lost["ann"]["/a"]
            assert missing > 0
            assert [text for text in front.texts("ann") if text != "old"] == [*"01234"][missing:]


async def test_a_store_that_comes_back_empty_has_no_clients() -> None:
    """Who was attached learns that the session is gone; new sessions can begin, and further pixied can start."""
    with single() as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann")
            front = pair.here.front_end()
            await pair.here.attach("ann", front)
            await pair.read(front)
            await asyncio.to_thread(server.kill)
            await until_away(pair.here)
            await asyncio.to_thread(server.start)
            await restored(pair)
            await pair.read(front)
            assert [(name, reason) for name, reason, _ in front.detached] == [("ann", DetachReason.EXPIRED)]
            await pair.there.create("bob")
            assert await pair.here.lives("bob")
            await pair.settle()
            async with opened(server.url, prefix=pair.prefix) as later:
                assert (await later.here.engine.get_client(pair.here.ids["bob"])).subscriptions == 0


async def test_messages_that_were_not_announced_are_read() -> None:
    """A subscription connection that is cut while messages come loses nothing, and repeats nothing."""
    with single() as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann")
            await pair.here.subscribe("ann", "/a", "/**")
            front = pair.here.front_end()
            await pair.here.attach("ann", front)
            await pair.read(front)
            for number in range(60):
                if number % 20 == 10:
                    server("CLIENT", "KILL", "TYPE", "pubsub")
                await pair.there.publish("/a", str(number))
                await pair.there.queue_for("ann", str(number))
            await restored(pair)
            await pair.read(front)
            for channel in ("/a", "/service/own"):
                got = [receipt.text for receipt in front.got["ann"] if receipt.channel == channel]
                assert got == [str(number) for number in range(60)]
            assert not front.lost


async def test_many_messages_that_were_missed_are_passed_on_in_turns(pair: Pair) -> None:
    """However many there are: heartbeats and other links go on meanwhile."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    pair.store.silence()
    await pair.there.publish("/a", *map(str, range(1_000)))
    turns = 0
    passed: Counter[int] = Counter()
    published = pair.here.hub.published

    def counted(entry: Entry, appended: Sequence[tuple[str, int]]) -> None:
        passed[turns] += 1
        published(entry, appended)

    with patch.object(pair.here.hub, "published", counted):
        cutting = asyncio.create_task(pair.cut())
        while not cutting.done():
            turns += 1
            await asyncio.sleep(0)
        await cutting
    await pair.read(front)
    assert front.numbers("ann") == list(range(1_000))
    assert sum(passed.values()) == 1_000
    assert max(passed.values()) <= 250


async def test_clients_without_subscriptions_receive_again_too() -> None:
    """Queued messages that came while nothing was received are read when the store is received again."""
    names = [str(number) for number in range(12)]
    with single() as server:
        async with opened(server.url) as pair:
            await pair.here.create(*names)
            front = pair.here.front_end()
            for name in names:
                await pair.here.attach(name, front)
            await pair.read(front)
            for number in range(3):
                server("CLIENT", "KILL", "TYPE", "pubsub")
                for name in names:
                    await pair.there.queue_for(name, str(number))
            await restored(pair)
            await pair.read(front)
            assert [front.texts(name) for name in names] == [["0", "1", "2"]] * 12


async def test_a_message_that_comes_while_a_partition_is_read_is_not_taken_for_read() -> None:
    """Who attaches while missed messages are read waits for a barrier, which stands for younger messages too."""
    with single() as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann", "bob")
            await pair.here.subscribe("bob", "/**")
            listener, front = pair.here.front_end(), pair.here.front_end()
            await pair.here.attach("bob", listener)
            await pair.read(listener)
            with gate(pair.here, "read") as read, watching(pair.here, "barrier") as barriers:
                server("CLIENT", "KILL", "TYPE", "pubsub")
                # From here on nothing is received, and what is read was there before this.
                await until(lambda: read.held == len(pair.here.engine.head))
                pair.store.silence()
                await pair.there.queue_for("ann", "1")
                attaching = asyncio.create_task(pair.here.attach("ann", front))
                taking = asyncio.create_task(front.link.take())
                await until(lambda: bool(barriers))
            await until(lambda: not pair.here.engine.trouble)
            # For what must not happen: who was attached too early would have read, and be live, by then.
            await asyncio.sleep(0.05)
            pair.store.resume()
            async with asyncio.timeout(TIMEOUT):
                await attaching
                front.send(await taking)
            front.receive()
            await restored(pair)
            await pair.read(front)
            assert front.texts("ann") == ["1"]


async def test_a_connection_that_is_silent_is_given_up() -> None:
    """A subscription connection that lives and brings nothing is replaced once no barrier has come for long enough."""
    with single() as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann")
            await pair.here.subscribe("ann", "/a")
            front = pair.here.front_end()
            await pair.here.attach("ann", front)
            settled_after = monotonic()
            await pair.read(front)
            subscriber = pair.here.engine.subscriber  # type: ignore[attr-defined]
            pair.store.silence()
            await pair.there.publish("/a", "1")
            assert subscriber.silent(settled_after + 14.9, 15.0) == []
            assert subscriber.silent(monotonic() + 15.1, 15.0) == [0, 1, 2, 3]
            for number in subscriber.silent(float("inf"), 15.0):
                subscriber.distrust(number, "silent")
            await restored(pair)
            await pair.read(front)
            assert front.texts("ann") == ["1"]


async def test_a_barrier_is_not_waited_for_for_ever(pair: Pair) -> None:
    """Many wait for the same one: who gives up leaves it to the others, and if it does not come all are refused."""
    subscriber = pair.here.engine.subscriber  # type: ignore[attr-defined]
    subscriber.barriers.timeout = 0.1
    pair.store.silence()
    with watching(pair.here, "barrier") as asked:
        gives_up, *wait = [asyncio.create_task(subscriber.barrier((0, 1))) for _ in range(3)]
        await until(lambda: bool(asked))
    gives_up.cancel()
    refused = await asyncio.gather(*wait, return_exceptions=True)
    assert [isinstance(one, EngineUnavailable) for one in refused] == [True, True]
    pair.store.resume()
    subscriber.barriers.timeout = TIMEOUT
    gives_up, *wait = [asyncio.create_task(subscriber.barrier((0, 1))) for _ in range(3)]
    await asyncio.sleep(0)
    gives_up.cancel()
    assert await asyncio.gather(*wait) == [None, None]


@pytest.mark.parametrize("later", [0, 2])
async def test_what_is_lost_behind_messages_that_are_left_is_announced(later: int) -> None:
    """A client that was away gets what is left, and a gap says exactly how much came after it and is no more."""
    with single() as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann")
            await pair.here.subscribe("ann", "/a")
            for number in range(3):
                await pair.here.publish("/a", str(number))
            old = {name: server("DUMP", name) for name in server("KEYS", "*")}
            for number in range(3, 7):
                await pair.here.publish("/a", str(number))
            server("FLUSHALL")
            for name, value in old.items():
                server("RESTORE", name, 0, value)
            server("CLIENT", "KILL", "TYPE", "pubsub")
            await restored(pair)
            for number in range(later):
                await pair.there.publish("/a", f"after {number}")
            front = pair.there.front_end()
            await pair.there.attach("ann", front)
            await pair.read(front)
            assert front.texts("ann") == ["0", "1", "2", *(f"after {number}" for number in range(later))]
            assert front.lost["ann"] == {"/a": 4}


async def test_scripts_that_are_forgotten_are_sent_again() -> None:
    """SCRIPT FLUSH is not noticed."""
    with single() as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann")
            server("SCRIPT", "FLUSH")
            assert await pair.there.lives("ann")


async def test_a_full_store_takes_nothing_more_and_lets_go() -> None:
    """What needs room is refused and nothing of it is done; what frees some is done, and then there is room again."""
    with single() as server:
        async with opened(server.url) as pair:
            await pair.here.create("ann")
            await pair.here.subscribe("ann", "/a")
            await pair.here.publish("/a", "x" * 100_000)
            server("CONFIG", "SET", "maxmemory", "1")
            assert await reason_of(pair.here.publish("/a", "1")) is Reason.ENGINE_UNAVAILABLE
            assert await reason_of(pair.there.create("bob")) is Reason.ENGINE_UNAVAILABLE
            await pair.here.unsubscribe("ann", "/a")
            await pair.there.destroy("ann")
            server("CONFIG", "SET", "maxmemory", "0")
            held = await pair.here.engine.holdings()
            assert (held.clients, held.channels, held.messages, held.bytes) == (0, 0, 0, 0)


async def until_away(site: Site) -> None:
    """Wait until a site has noticed that its store is away."""
    await until(lambda: bool(site.engine.trouble))


async def test_a_connection_that_breaks_before_it_is_confirmed_is_replaced_at_once(pair: Pair) -> None:
    """Nobody waits for the confirmation that can't come any more."""
    pair.here.engine.subscriber.barriers.timeout = 10 * TIMEOUT  # type: ignore[attr-defined]
    pair.store.cut()
    async with asyncio.timeout(TIMEOUT):
        # Nothing notifies of a moment that passes.
        while not pair.store.unconfirmed:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await pair.cut()


async def test_a_barrier_that_can_not_be_asked_for_is_refused_with_the_reason(pair: Pair) -> None:
    """Who waits for it learns what the store says, and not only that nothing came in time."""
    subscriber = pair.here.engine.subscriber  # type: ignore[attr-defined]
    with refusing(pair.here, "barrier"), pytest.raises(EngineUnavailable, match="it is away"):
        await subscriber.barrier((0, 1))
    await subscriber.barrier((0, 1))


@pytest.mark.parametrize("late", ["confirmation", "barrier"])
async def test_a_log_is_followed_though_its_channel_was_late(pair: Pair, late: str) -> None:
    """A subscription during which nothing comes for longer than the timeout is complete when something does."""
    await pair.here.create("ann")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    barriers = pair.here.engine.subscriber.barriers  # type: ignore[attr-defined]
    barriers.timeout = 0.1
    with watching(pair.here, "barrier") as asked:
        await pair.here.subscribe("ann", "/a")
        async with asyncio.timeout(TIMEOUT):
            # Nothing notifies of a moment that passes.
            while not (asked if late == "barrier" else pair.store.unconfirmed):  # noqa: ASYNC110
                await asyncio.sleep(0)
        pair.store.silence()
        if late == "barrier":
            # Each is asked for when the one before was late.
            await until(lambda: len(asked) >= 3)
        else:
            await asyncio.sleep(0.3)  # three timeouts
    barriers.timeout = TIMEOUT
    pair.store.resume()
    await pair.there.publish("/a", "1")
    async with asyncio.timeout(TIMEOUT):
        await pair.read(front)
    # What is not announced from then on is read.
    pair.store.silence()
    await pair.there.publish("/a", "2")
    await pair.cut()
    await pair.read(front)
    assert front.texts("ann") == ["1", "2"]
    assert not front.lost


async def test_a_client_whose_messages_are_not_received_is_not_attached(pair: Pair) -> None:
    """The front-end is told that the store does not answer, and not kept for ever."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    pair.here.engine.subscriber.barriers.timeout = 0.1  # type: ignore[attr-defined]
    pair.store.silence()
    front = pair.here.front_end()
    async with asyncio.timeout(TIMEOUT):
        await pair.here.attach("ann", front)
    pair.store.resume()
    await front.read()
    assert front.failed["ann"].reason is Reason.ENGINE_UNAVAILABLE
    assert (await pair.there.look_at("ann")).front_end == ""


async def test_what_comes_before_a_late_subscription_is_not_lost(pair: Pair) -> None:
    """A request to subscribe that reaches the store only after others have been answered: nothing counts on it."""
    await pair.here.create("ann")
    front = pair.here.front_end()
    await pair.here.attach("ann", front)
    await pair.read(front)
    barriers = pair.here.engine.subscriber.barriers  # type: ignore[attr-defined]
    barriers.timeout = 0.1
    with pair.store.late_subscriptions():
        await pair.here.subscribe("ann", "/a")
        await until(lambda: pair.store.unconfirmed)
        await asyncio.sleep(0.5)  # it has to be late
        await pair.there.publish("/a", "1")
        # Not `read`, which waits for all that is under way.
        while front.link.ready:
            front.send(await front.link.take())
        front.receive()
    barriers.timeout = TIMEOUT
    await until(lambda: not pair.store.unconfirmed)
    await pair.there.publish("/a", "2")
    async with asyncio.timeout(TIMEOUT):
        await pair.read(front)
    assert front.texts("ann") == ["1", "2"]
    assert not front.lost


@pytest.mark.parametrize("away", [True, False], ids=["away", "silent"])
async def test_an_engine_that_is_closed_while_its_store_is_away_leaves_nothing(*, away: bool) -> None:
    """No task goes on to look for the store."""
    before = asyncio.all_tasks()
    with single() as server:
        async with opened(server.url) as pair:
            if away:
                await asyncio.to_thread(server.kill)
                await until_away(pair.here)
                await until_away(pair.there)
            else:
                pair.store.silence()
        # Those that are cancelled are yet to end.
        await until(lambda: not asyncio.all_tasks() - before)


async def test_barriers_that_come_while_a_partition_is_read_are_all_passed(pair: Pair) -> None:
    """None is forgotten over another: each waits until what was missed is read."""
    subscriber = pair.here.engine.subscriber  # type: ignore[attr-defined]
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/**")
    async with pair.here.attached("ann"):
        with gate(pair.here, "read") as read:
            pair.store.cut()
            await until(lambda: read.held > 0)
            waiting = []
            for _ in range(3):
                asked_at = monotonic()
                waiting.append(asyncio.create_task(subscriber.barrier((0,))))
                await until(lambda asked_at=asked_at: 0 not in subscriber.silent(asked_at, 0.0))  # type: ignore[misc]
            assert not any(task.done() for task in waiting)
            read.open()
            async with asyncio.timeout(TIMEOUT):
                await asyncio.gather(*waiting)


async def test_what_is_remembered_of_messages_is_bounded(pair: Pair) -> None:
    """A store that went back in time is told of the last 4,000 logs of a partition, and of all that are followed."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/**")
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    async with pair.here.attached("ann"):
        await pair.there.publish("/a", "1")
        await pair.settle()
        home = engine.process.layout.of("/a")
        for number in range(5_000):
            engine.subscriber.appended(home, number, {f"/{number}": number})
        engine.subscriber.appended(home, 5_000, {"/1000": 5_000})
        engine.subscriber.appended(home, 5_001, {"/new": 5_001})
        _, offsets = engine.process.partitions[home].known()
        expected = {f"/{number}": number for number in range(1_002, 5_000)} | {"/1000": 5_000, "/new": 5_001}
        assert offsets == expected | {"/**": offsets["/**"]}
