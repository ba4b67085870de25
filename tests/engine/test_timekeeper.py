"""What the memory engine keeps of time: no more than its sessions need."""

import asyncio
import time
from collections.abc import Awaitable

import pytest
from tests.engine.benches import Limits, MemoryBench
from tests.engine.site import Site
from tests.support.memory import alive, traced

from pixied_server.delivery.hub import Hub
from pixied_server.delivery.watch import Watchers
from pixied_server.engine.memory import MemoryEngine
from pixied_server.engine.memory.session import Session


async def test_sessions_that_are_destroyed_leave_nothing_behind() -> None:
    """Their deadlines may be hours away: till then, some of their ids are kept at most."""
    site = Site(MemoryBench(Limits(clients=10)))
    before = alive(Session)
    with traced() as kept:
        for _ in range(5_000):
            await site.create("short", timeout=3_600.0)
            await site.destroy("short")
        assert kept("core/identifiers.py") < 1_100 * 100
    assert alive(Session) == before


async def test_sessions_that_ended_are_not_kept_by_what_they_subscribed_to() -> None:
    """Though others subscribe to it for longer."""
    site = Site(MemoryBench(Limits(clients=400)))
    patterns = [f"/{number}" for number in range(100)]
    await site.create("stays", timeout=3_600.0)
    before = alive(Session)
    for pattern in patterns:
        await site.create("goes", timeout=1.0)
        await site.subscribe("goes", pattern)
    await site.subscribe("stays", *patterns)
    await site.elapse(2.0)
    assert alive(Session) == before


async def test_a_running_engine_sees_to_the_earliest_deadline() -> None:
    """It sleeps until something is due, and wakes for a session that ends sooner than all before it."""
    bench = MemoryBench(Limits())
    site = Site(bench)
    await site.create("late", timeout=60.0)
    running = asyncio.create_task(bench.engine.run())
    await bench.settle()
    await site.create("soon", timeout=0.1)
    bench.clock.advance(0.2)
    # Nobody waits for a clock here: it is woken when the session is created.
    for _ in range(20):
        await asyncio.sleep(0)
    assert (await site.engine.holdings()).clients == 1
    assert await site.lives("late")
    running.cancel()
    await asyncio.wait([running])


async def test_an_engine_sleeps_until_something_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next deadline, if that is sooner than the sweep of each second."""
    bench = MemoryBench(Limits())
    site = Site(bench)
    delays: list[float] = []
    wait_for = asyncio.wait_for

    async def noted(waiting: Awaitable[bool], timeout: float) -> bool:
        delays.append(timeout)
        return await wait_for(waiting, 30.0)

    monkeypatch.setattr(asyncio, "wait_for", noted)
    running = asyncio.create_task(bench.engine.run())
    for timeout in (60.0, 0.5, 0.25):
        await bench.settle()
        await site.create("ann", timeout=timeout)
        bench.clock.advance(0.125)
    for _ in range(10):
        await bench.settle()
    assert delays == pytest.approx([1.0, 0.375, 0.125], abs=0.011)
    running.cancel()
    await asyncio.wait([running])


async def test_an_engine_wakes_by_itself() -> None:
    """When the next session ends, though nothing else happens."""
    engine = MemoryEngine(Limits().of_engine, time.time)
    Hub(engine, Watchers(10), time.time)
    running = asyncio.create_task(engine.run())
    await engine.create_client(0.05, {})
    async with asyncio.timeout(30):
        while (await engine.holdings()).clients:  # noqa: ASYNC110 - the engine does it by itself
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])


async def test_old_messages_are_looked_for_each_second() -> None:
    """A second after the last time, and not before."""
    site = Site(MemoryBench(Limits(log_age=10.0)))
    await site.create("ann", timeout=3_600.0)
    await site.queue_for("ann", "1")
    left = []
    for seconds in (9.5, 0.75, 0.25):
        await site.elapse(seconds)
        left.append((await site.engine.holdings()).messages)
    assert left == [1, 1, 0]


async def test_an_idle_engine_sleeps() -> None:
    """It looks at the time when something may be due, and not in each turn of the loop."""
    bench = MemoryBench(Limits())
    await Site(bench).create("ann", timeout=60.0)
    looks = 0
    now = bench.clock.now

    class Counting(float):
        """The time, and how often it was compared."""

        def __ge__(self, other: object) -> bool:
            nonlocal looks
            looks += 1
            return float(self) >= float(other)  # type: ignore[arg-type]

    bench.clock.now = Counting(now)
    running = asyncio.create_task(bench.engine.run())
    for _ in range(200):
        await asyncio.sleep(0)
    assert 0 < looks < 10
    running.cancel()
    await asyncio.wait([running])


async def test_the_ids_of_sessions_that_ended_are_kept_no_longer_than_their_deadlines() -> None:
    """Once the deadline of a session that was destroyed has come, nothing is left of it."""
    site = Site(MemoryBench(Limits(clients=10)))
    with traced() as kept:
        for _ in range(900):
            await site.create("short", timeout=1.0)
            await site.destroy("short")
        assert kept("core/identifiers.py") > 900 * 50
        await site.elapse(2.0)
        assert kept("core/identifiers.py") < 10_000
