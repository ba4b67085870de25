"""What a process left half done, or its caller gave up, is done or undone a few seconds later."""

import asyncio

import pytest
from tests.distributed.gate import gate, late_requests, refusing, watching
from tests.distributed.outage import TIMEOUT
from tests.distributed.pair import Pair, opened
from tests.engine.benches import Limits
from tests.engine.site import reason_of, texts

from pixied_server.engine.redis import RedisEngine
from pixied_server.engine.redis.connection.store import Script
from pixied_server.engine.redis.operations import subscriptions
from pixied_server.errors import EngineUnavailable


async def _later(pair: Pair, seconds: float) -> None:
    """Time passes, and the other pixied looks after what was cut off."""
    pair.here.clock.advance(seconds)
    engine = pair.there.engine
    assert isinstance(engine, RedisEngine)
    await engine.upkeep.finish_what_was_cut_off(3.0)


@pytest.mark.parametrize("pattern", ["/a", "/a/*", "/**"])
async def test_a_subscribe_whose_process_died_is_undone(pair: Pair, pattern: str) -> None:
    """Within 5 s no log keeps messages for a client that does not subscribe, however many patterns there are."""
    await pair.here.create("ann", timeout=60.0)
    with gate(pair.here, "join") as joined:
        subscribing = asyncio.create_task(pair.here.subscribe("ann", pattern))
        async with asyncio.timeout(10):
            await joined.reached.wait()
        await pair.die(pair.here)
        await _later(pair, 2.0)
        assert (await pair.there.engine.holdings()).channels == 1
        await _later(pair, 2.0)
        assert (await pair.there.engine.holdings()).channels == 0
        assert (await pair.there.publish("/a/b" if "*" in pattern else "/a", "2"))[0].matched == 0
    await asyncio.wait([subscribing])


async def test_a_subscribe_of_many_patterns_is_undone_together(store_url: str) -> None:
    """Two looks at the client for each partition, however many of its patterns were cut off, and others there are."""
    patterns = [f"/cut/{number}" for number in range(300)]
    async with opened(store_url, Limits(subscriptions_per_client=len(patterns))) as pair:
        await pair.here.create("ann", "bob", timeout=600.0)
        await pair.here.subscribe("bob", *[f"/other/{number}" for number in range(300)])
        with gate(pair.here, "join") as joined:
            subscribing = asyncio.create_task(pair.here.subscribe("ann", *patterns))
            async with asyncio.timeout(TIMEOUT):
                while joined.held < len(patterns):  # noqa: ASYNC110 - the store answers in between
                    await asyncio.sleep(0)
            await pair.die(pair.here)
            with watching(pair.there, "subscribes") as looks, watching(pair.there, "part") as parted:
                await _later(pair, 4.0)
            engine = pair.there.engine
            assert isinstance(engine, RedisEngine)
            assert len(looks) == 2 * len(engine.process.partitions)
            assert len(parted) == len(patterns)
            assert (await engine.holdings()).channels == 300
        await asyncio.wait([subscribing])


async def test_a_subscribe_that_is_cancelled_is_done_or_undone(pair: Pair) -> None:
    """Members and the client's own record say the same of each of many calls that were cut off at any moment."""
    await pair.here.create("ann", timeout=600.0)
    calls = [asyncio.create_task(pair.here.subscribe("ann", f"/{number}", "/**")) for number in range(60)]
    for number, call in enumerate(calls):
        await asyncio.sleep(0)
        if number % 3:
            call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await pair.settle()
    await _later(pair, 4.0)
    subscribed = set(await pair.there.engine.subscribed_to(pair.here.ids["ann"]))
    for number in range(60):
        matched = (await pair.there.publish(f"/{number}", "1"))[0].matched
        assert matched == 1 + (f"/{number}" in subscribed)


async def test_an_unsubscribe_whose_process_died_is_done(pair: Pair) -> None:
    """The pattern's members know it within 5 s, and its log goes."""
    await pair.here.create("ann", timeout=60.0)
    await pair.here.subscribe("ann", "/a", "/a/*")
    with gate(pair.here, "unsubscribe") as unsubscribed:
        leaving = asyncio.create_task(reason_of(pair.here.unsubscribe("ann", "/a", "/a/*")))
        async with asyncio.timeout(10):
            await unsubscribed.reached.wait()
        await _later(pair, 4.0)
        assert (await pair.there.engine.holdings()).channels == 0
    await asyncio.wait([leaving])


async def test_an_unsubscribe_whose_process_died_is_done_though_another_one_was_done_meanwhile(pair: Pair) -> None:
    """The end of one takes nothing away of what is known of the other."""
    await pair.here.create("ann", timeout=600.0)
    await pair.here.subscribe("ann", "/a", "/b")
    with late_requests(pair.there, "left") as late:
        leaving = asyncio.create_task(pair.there.unsubscribe("ann", "/b"))
        async with asyncio.timeout(TIMEOUT):
            await late.reached.wait()
        with refusing(pair.here, "part"), pytest.raises(EngineUnavailable):
            await pair.here.unsubscribe("ann", "/a")
        await pair.die(pair.here)
        late.open()
        await leaving
    await _later(pair, 4.0)
    assert (await pair.there.publish("/a", "1"))[0].matched == 0


async def test_who_subscribes_again_meanwhile_keeps_it(pair: Pair) -> None:
    """What was begun is not undone for a client that has come to subscribe."""
    await pair.here.create("ann", timeout=60.0)
    await pair.here.subscribe("ann", "/a")
    with gate(pair.here, "unsubscribe") as unsubscribed:
        leaving = asyncio.create_task(reason_of(pair.here.unsubscribe("ann", "/a")))
        async with asyncio.timeout(10):
            await unsubscribed.reached.wait()
        await pair.there.subscribe("ann", "/a")
        await _later(pair, 4.0)
        await pair.there.publish("/a", "1")
        assert texts(await pair.there.dequeue("ann")) == ["1"]
    await asyncio.wait([leaving])


@pytest.mark.parametrize("held", ["before it ends its membership", "at its end"])
@pytest.mark.parametrize("pattern", ["/a", "/a/*"])
async def test_an_unsubscribe_that_another_pixied_is_late_with_ends_nothing_else(
    pair: Pair, pattern: str, held: str
) -> None:
    """A Subscribe that was answered meanwhile counts: the client is a member, whatever the other one does then."""
    channel = pattern.replace("*", "b")
    await pair.here.create("ann", timeout=60.0)
    await pair.here.subscribe("ann", pattern)
    with gate(pair.here, "unsubscribe") as unsubscribed:
        leaving = asyncio.create_task(pair.here.unsubscribe("ann", pattern))
        async with asyncio.timeout(10):
            await unsubscribed.reached.wait()
        if held == "at its end":
            with gate(pair.there, "join") as joined:
                subscribing = asyncio.create_task(pair.there.subscribe("ann", pattern))
                async with asyncio.timeout(10):
                    await joined.reached.wait()
                unsubscribed.open()
                await leaving
            await subscribing
        else:
            await pair.there.subscribe("ann", pattern)
    await leaving
    await pair.settle()
    assert (await pair.there.publish(channel, "1"))[0].matched == 1
    assert texts(await pair.there.dequeue("ann")) == ["1"]
    assert (await pair.there.engine.holdings()).subscriptions == 1


@pytest.mark.parametrize("before", [True, False], ids=["after an Unsubscribe", "at first"])
async def test_what_is_under_way_here_is_not_undone(pair: Pair, *, before: bool) -> None:
    """However long a Subscribe takes: what this process itself is doing it neither finishes nor undoes meanwhile."""
    await pair.here.create("ann", timeout=60.0)
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    with gate(pair.there, "unsubscribe") as unsubscribed, gate(pair.here, "join") as joined:
        leaving = None
        if before:
            await pair.there.subscribe("ann", "/a")
            leaving = asyncio.create_task(pair.there.unsubscribe("ann", "/a"))
            async with asyncio.timeout(10):
                await unsubscribed.reached.wait()
        subscribing = asyncio.create_task(pair.here.subscribe("ann", "/a"))
        async with asyncio.timeout(10):
            await joined.reached.wait()
        pair.here.clock.advance(4.0)
        finishing = asyncio.create_task(engine.upkeep.finish_what_was_cut_off(3.0))
        await asyncio.sleep(0.1)  # for what must not happen: it would be undone by then
        assert not finishing.done()
        joined.open()
        await subscribing
        await finishing
        assert (await pair.here.publish("/a", "1"))[0].matched == 1
    if leaving:
        await leaving
    assert (await pair.here.publish("/a", "2"))[0].matched == 1


@pytest.mark.parametrize("pattern", ["/a", "/a/*"])
async def test_a_subscribe_that_was_taken_for_cut_off_counts_when_it_is_answered(
    pair: Pair, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was paused in the middle of it goes on, after another one has undone what it had begun."""
    monkeypatch.setattr(subscriptions, "_SLOW", 0.0)
    await pair.here.create("ann", timeout=60.0)
    with gate(pair.here, "join") as joined:
        subscribing = asyncio.create_task(pair.here.subscribe("ann", pattern))
        async with asyncio.timeout(10):
            await joined.reached.wait()
        await _later(pair, 4.0)
    assert await subscribing == [pattern]
    for number in range(10):
        channel = pattern.replace("*", str(number))
        assert (await pair.there.publish(channel, str(number)))[0].matched == 1
    taken = await pair.there.dequeue("ann")
    assert sorted(texts(taken)) == [str(number) for number in range(10)]


async def test_a_subscribe_that_is_done_while_it_is_undone_counts(pair: Pair) -> None:
    """Who undoes what seems cut off looks again, and makes the client a member that has come to subscribe."""
    await pair.here.create("ann", timeout=60.0)
    with gate(pair.here, "join", most=1) as joined, gate(pair.there, "subscribes", most=1) as looked:
        subscribing = asyncio.create_task(pair.here.subscribe("ann", "/a"))
        async with asyncio.timeout(10):
            await joined.reached.wait()
        undoing = asyncio.create_task(_later(pair, 4.0))
        async with asyncio.timeout(10):
            await looked.reached.wait()
        joined.open()
        assert await subscribing == ["/a"]
        looked.open()
        await undoing
    assert (await pair.there.publish("/a", "1"))[0].matched == 1
    assert texts(await pair.there.dequeue("ann")) == ["1"]


async def test_an_unsubscribe_that_died_half_way_ends_the_pattern_in_all_partitions(pair: Pair) -> None:
    """Where the members' partition knows of it and others do not yet, these keep no log for nobody."""
    await pair.here.create("ann", timeout=60.0)
    await pair.here.subscribe("ann", "/a/*")
    with refusing(pair.here, "declare"), pytest.raises(EngineUnavailable):
        await pair.here.unsubscribe("ann", "/a/*")
    await pair.die(pair.here)
    with refusing(pair.there, "declare"), pytest.raises(EngineUnavailable):
        await _later(pair, 4.0)
    await _later(pair, 4.0)
    assert [(await pair.there.publish(f"/a/{number}", "1"))[0].matched for number in range(20)] == [0] * 20


async def test_a_pattern_ends_though_its_last_but_one_member_leaves_late(pair: Pair) -> None:
    """Two pixied end the last two subscriptions at once: no partition keeps a log for nobody, whoever comes last."""
    await pair.here.create("ann", "bob", timeout=60.0)
    for name in ("ann", "bob"):
        await pair.here.subscribe(name, "/a/*")
    with late_requests(pair.there, "declare") as late:
        leaving = asyncio.create_task(pair.there.unsubscribe("bob", "/a/*"))
        async with asyncio.timeout(TIMEOUT):
            await late.reached.wait()
        await pair.here.unsubscribe("ann", "/a/*")
        late.open()
        await leaving
    assert [(await pair.there.publish(f"/a/{number}", "1"))[0].matched for number in range(20)] == [0] * 20
    assert (await pair.there.engine.holdings()).messages == 0


async def test_a_pattern_ends_though_redis_has_lost_its_last_changes(pair: Pair) -> None:
    """Other partitions know a later change of it than a server that came after a failover: the next one is later."""
    await pair.here.create("ann", "bob", timeout=60.0)
    await pair.here.subscribe("ann", "/a/*")
    engine = pair.here.engine
    assert isinstance(engine, RedisEngine)
    home = engine.process.home("/a/*")
    lost = await home.join("/a/*", pair.here.ids["bob"], wild=True)
    for partition in engine.process.partitions:
        if partition is not home:
            await partition.declare("/a/*", lost.version, lost.members)
    script = Script(
        "#!lua\nlocal base = string.sub(KEYS[1], 1, -5)\n"
        "redis.call('ZREM', base .. 'members:/a/*', ARGV[1])\n"
        "redis.call('HINCRBY', KEYS[1], 'version', -1)"
    )
    await pair.store.run([home.key], script, [pair.here.ids["bob"]])
    await pair.here.unsubscribe("ann", "/a/*")
    assert [(await pair.there.publish(f"/a/{number}", "1"))[0].matched for number in range(20)] == [0] * 20
