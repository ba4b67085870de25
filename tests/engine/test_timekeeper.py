"""What the memory engine keeps of time: no more than its sessions need."""

import asyncio

from tests.engine.benches import Limits, MemoryBench
from tests.engine.site import Site
from tests.support.memory import alive

from pixied_server.engine.memory.session import Session


async def test_sessions_that_are_destroyed_leave_nothing_behind() -> None:
    """Their deadlines may be hours away: they are not kept until then."""
    site = Site(MemoryBench(Limits(clients=10)))
    before = alive(Session)
    for _ in range(5_000):
        await site.create("short", timeout=3_600.0)
        await site.destroy("short")
    assert alive(Session) - before <= 1_100


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


async def test_sessions_that_ended_and_came_up_are_kept_by_nothing() -> None:
    """Once the deadline of a session that was destroyed has come, it is gone."""
    site = Site(MemoryBench(Limits(clients=10)))
    before = alive(Session)
    for _ in range(900):
        await site.create("short", timeout=1.0)
        await site.destroy("short")
    assert alive(Session) - before > 800
    await site.elapse(2.0)
    assert alive(Session) - before == 0
