"""What the memory engine keeps of logs that have no messages any more."""

from tests.counts.counting import calls
from tests.engine.benches import Limits, MemoryBench
from tests.engine.site import Site, reason_of, texts
from tests.support.memory import alive, traced

from pixied_server.core.log import Log
from pixied_server.core.message import Message
from pixied_server.errors import Reason


async def test_logs_that_were_emptied_take_no_place() -> None:
    """Inboxes that had messages once are not looked at for ever, and those that have some are trimmed in order."""
    site = Site(MemoryBench(Limits(clients=3_000, log_age=100.0)))
    stay, go = [f"stays {number}" for number in range(40)], [f"goes {number}" for number in range(2_000)]
    before = alive(Log)
    await site.create(*stay, timeout=3_600.0)
    await site.create(*go, timeout=60.0)
    for number, name in enumerate(stay):
        await site.queue_for(name, str(number))
        await site.elapse(1.0)
    for name in go:
        await site.queue_for(name, "1")
        await site.dequeue(name)
    await site.elapse(61.0)
    assert (await site.engine.holdings()).clients == 40
    assert alive(Log) - before == 40
    await site.elapse(18.5)
    assert (await site.engine.holdings()).messages == 20
    taken = [await site.dequeue(name) for name in stay]
    assert [texts(one) for one in taken] == [*[[]] * 20, *[[str(number)] for number in range(20, 40)]]
    assert [[loss.count for loss in one.losses] for one in taken] == [*[[1]] * 20, *[[]] * 20]
    await site.queue_for(stay[5], "anew")
    await site.elapse(101.0)
    assert (await site.engine.holdings()).messages == 0


async def test_a_sweep_looks_at_no_log_that_has_nothing_old() -> None:
    """While all logs have young messages, however many there are, one of them is looked at a second."""
    site = Site(MemoryBench(Limits(clients=2_000)))
    names = [f"client {number}" for number in range(2_000)]
    await site.create(*names, timeout=3_600.0)
    for name in names:
        await site.queue_for(name, "1")
    await site.elapse(2.0)
    with calls() as counts:
        await site.elapse(2.0)
    assert counts.total() < 50


async def test_a_log_has_one_place_however_much_goes_through_it() -> None:
    """A log that is written and trimmed all the time takes no more memory for it."""
    site = Site(MemoryBench(Limits(log_messages=2)))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    with traced() as kept:
        for _ in range(10):
            await site.publish("/a", *["1"] * 100)
        assert kept("engine/memory/retention.py") < 2_000


async def test_memory_that_is_full_to_the_byte_loses_nothing() -> None:
    """Messages that take exactly what all may take are kept, and a request that takes a byte more is refused."""
    size = Message("/a", b"1").size
    site = Site(MemoryBench(Limits(total_bytes=2 * size)))
    await site.create("ann")
    await site.subscribe("ann", "/a")
    await site.publish("/a", "1", "2")
    assert (await site.engine.holdings()).bytes == 2 * size
    assert await reason_of(site.publish("/a", "3", "45")) is Reason.LIMIT_MEMORY
    assert texts(await site.dequeue("ann")) == ["1", "2"]


async def test_all_messages_of_a_log_go_in_their_time() -> None:
    """What comes after the oldest messages of a log, or when all were taken, goes when it is too old as well."""
    site = Site(MemoryBench(Limits(log_age=10.0)))
    await site.create("ann", timeout=3_600.0)
    for number in range(3):
        await site.queue_for("ann", str(number))
        await site.elapse(4.0)
    left = []
    for _ in range(3):
        left.append((await site.engine.holdings()).messages)
        await site.elapse(4.0)
    assert left == [2, 1, 0]
    await site.queue_for("ann", "anew")
    await site.dequeue("ann")
    await site.queue_for("ann", "again")
    await site.elapse(11.0)
    assert (await site.engine.holdings()).messages == 0


async def test_keys_that_are_over_are_kept_by_nothing() -> None:
    """Though no further message with a key comes."""
    site = Site(MemoryBench(Limits()))
    with traced() as kept:
        await site.engine.publish([Message("/a", b"1", key=str(number)) for number in range(500)])
        assert kept("core/idempotency.py") > 500 * 100
        await site.elapse(302.0)
        assert kept("core/idempotency.py") < 10_000


async def test_a_log_that_outgrows_its_bounds_takes_no_room_from_others() -> None:
    """What it loses by itself makes room enough: where all memory is used, no older message of another log goes."""
    size = Message("/a", b"1").size
    site = Site(MemoryBench(Limits(log_messages=1, total_bytes=2 * size)))
    await site.create("ann", "bob")
    await site.subscribe("ann", "/a")
    await site.subscribe("bob", "/b")
    await site.publish("/a", "1")
    for number in range(5):
        await site.publish("/b", str(number))
    assert texts(await site.dequeue("ann")) == ["1"]
    assert texts(await site.dequeue("bob")) == ["4"]
