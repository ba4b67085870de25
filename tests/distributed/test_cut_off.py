"""What a process left half done, or its caller gave up, is done or undone a few seconds later."""

import asyncio

import pytest
from tests.distributed.gate import gate
from tests.distributed.pair import Pair
from tests.engine.site import reason_of, texts

from pixied_server.engine.redis import RedisEngine


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
